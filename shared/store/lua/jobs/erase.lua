-- Erase a finished job; its Idempotency-Key stays, so that a late repeat makes no second one. Answers whether there was
-- one.
local job = load_job(job_id)
if not job or UNFINISHED[job.status] then return false end
local f = redis.call('HMGET', job_key(job_id), 'stopped', 'spent')
if job.queue == LLM and f[1] and not has_token(f[2], f[1]) then  -- its run is still to say what it used
  redis.call('HSET', ERASED .. job_id, 'token', f[1], 'owner', job.owner, 'priority', job.priority, 'lane', job.lane or '',
    'charged', job.charged or '', 'weight', job.weight or '')
  if job.apart then redis.call('HSET', ERASED .. job_id, 'task', job.task) end
  redis.call('PEXPIRE', ERASED .. job_id, LEASE_MS)
end
redis.call('UNLINK', job_key(job_id), EVENTS .. job_id, SENT .. job_id, PAYLOAD .. job_id, RESULT .. job_id)
redis.call('ZREM', INDEX, job_id)
redis.call('ZREM', INDEX .. ':' .. job.owner, job_id)
redis.call('ZREM', FAILURES .. job.queue, job_id)
count(job, job.status)
engine[job.queue].forget(job)
return true
