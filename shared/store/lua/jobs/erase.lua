-- Erase a finished job; its Idempotency-Key stays, so that a late repeat makes no second one. Answers whether there was
-- one.
local job = load_job(job_id)
if not job or UNFINISHED[job.status] then return false end
redis.call('UNLINK', job_key(job_id), EVENTS .. job_id, SENT .. job_id)
redis.call('ZREM', INDEX, job_id)
redis.call('ZREM', INDEX .. ':' .. job.owner, job_id)
redis.call('ZREM', FAILURES .. job.queue, job_id)
count(job, job.status)
engine[job.queue].forget(job)
return true
