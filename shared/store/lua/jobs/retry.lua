-- Run a finished job again, attempts from zero, if it failed, was cancelled or has expired and has the status `only`.
-- Answers the status that it had.
local said = answer_to_wish(job_id, mark)
if said then return said end
local now, key, job = now_ms(), job_key(job_id), load_job(job_id)
if not job then return false end
if UNFINISHED[job.status] or not LEGAL[job.status][QUEUED] then return job.status end
if only and only ~= job.status then return job.status end
local f = redis.call('HMGET', key, 'stopped', 'spent', 'finished_at')
local due, status = now, QUEUED
-- The run that was cancelled may be under way still: until it says what it cost (jobs/finish.lua), or as long as a lease.
if job.status == CANCELLED and f[1] and not has_token(f[2], f[1]) then due = math.max(now, math.min(tonumber(f[3]) or 0, now) + LEASE_MS) end
engine[job.queue].revive(job, now)
redis.call('HDEL', key, 'result', 'error', 'attempts', 'crashes', 'losses', 'throttled', 'started_at', 'finished_at',
  'progress', 'estimated_start', 'file', 'provider', 'expires_at', 'begun', 'front', 'keep_until',
  'give_up_at')
if due > now then
  status = SCHEDULED
  redis.call('HSET', key, 'run_at', due)
end
forget_events(job_id)
job.attempt, job.events = 0, 'record'
redis.call('HSET', key, 'attempt', 0, 'status', status, 'ready_at', due, 'events', job.events, log_transition(job, status, now))
if max_age then redis.call('HSET', key, 'give_up_at', due + max_age) end
redis.call('PERSIST', key)
each_text(job, 'PERSIST')
if job.sent then redis.call('PERSIST', SENT .. job_id) end
redis.call('DEL', UNKNOWN .. job_id)
redis.call('ZREM', FAILURES .. job.queue, job_id)
job.crashes, job.front = nil, nil
engine[job.queue].enqueue(job, due, now)
count(job, job.status, status)
wake(job.queue)
note_wish(job_id, mark, job.status)
return job.status
