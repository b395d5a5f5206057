-- Run a finished job again, attempts from zero, if it failed, was cancelled or has expired and has the status `only`.
-- Answers the status that it had.
local now, key, job = now_ms(), job_key(job_id), load_job(job_id)
if not job then return false end
if UNFINISHED[job.status] or not LEGAL[job.status][QUEUED] then return job.status end
if only and only ~= job.status then return job.status end
redis.call('HDEL', key, 'result', 'error', 'attempts', 'crashes', 'losses', 'throttled', 'started_at', 'finished_at',
  'progress', 'estimated_start', 'file', 'provider', 'expires_at', 'stopped', 'done', 'front')
redis.call('HSET', key, 'attempt', 0, 'status', QUEUED, 'ready_at', now)
redis.call('PERSIST', key)
redis.call('UNLINK', EVENTS .. job_id)
redis.call('DEL', UNKNOWN .. job_id)
redis.call('ZREM', FAILURES .. job.queue, job_id)
job.crashes, job.front = nil, nil
engine[job.queue].revive(job, now)
engine[job.queue].enqueue(job, now, now)
count(job, nil, QUEUED)
emit_status(job_id, QUEUED, 0, now)
wake(job.queue)
return job.status
