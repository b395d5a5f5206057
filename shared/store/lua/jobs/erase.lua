-- Erase a finished job. Answers whether there was one.
local job = load_job(job_id)
if not job or UNFINISHED[job.status] then return false end
local idempotency = IDEMPOTENCY .. (redis.call('HGET', job_key(job_id), 'idempotency') or '')
-- A key that was forgotten and used again leads to another job.
if redis.call('HGET', idempotency, 'id') == job_id then redis.call('DEL', idempotency) end
redis.call('UNLINK', job_key(job_id), EVENTS .. job_id, SENT .. job_id)
redis.call('ZREM', INDEX, job_id)
redis.call('ZREM', INDEX .. ':' .. job.owner, job_id)
redis.call('ZREM', FAILURES .. job.queue, job_id)
count(job, job.status)
engine[job.queue].forget(job)
return true
