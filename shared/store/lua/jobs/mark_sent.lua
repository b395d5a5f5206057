-- Note whom a job's mail was accepted for. The note lives as long as the job, then as long as its record (finish_job).
-- Answers whether there is that job.
local job = load_job(job_id)
if not job then return false end
redis.call('SET', SENT .. job_id, addresses)
redis.call('HSET', job_key(job_id), 'sent', 1)
if not UNFINISHED[job.status] then redis.call('PEXPIRE', SENT .. job_id, ttl) end
return true
