-- Run a finished job again, attempts from zero. ARGV: id, status it must have or ''.
-- Returns the status that it had, or '' if there is none: failed, cancelled and expired ones wait now.
local id, now = ARGV[1], now_ms()
local key, job = job_key(id), load(id)
if not job then return '' end
if UNFINISHED[job.status] or not LEGAL[job.status].queued then return job.status end
if ARGV[2] ~= '' and ARGV[2] ~= job.status then return job.status end
redis.call('HDEL', key, 'result', 'error', 'attempts', 'crashes', 'losses', 'throttled', 'started_at', 'finished_at',
  'progress', 'estimated_start', 'file', 'provider', 'expires_at', 'stopped', 'done', 'front')
redis.call('HSET', key, 'attempt', 0, 'status', 'queued', 'ready_at', now)
redis.call('PERSIST', key)
redis.call('DEL', EVENTS .. id)
redis.call('ZREM', FAILED .. job.queue, id)
job.crashes, job.front = nil, nil
engine[job.queue].revive(job, now)
engine[job.queue].enqueue(job, now, now)
count(job, nil, 'queued')
emit_status(id, 'queued', 0, now)
ring(job.queue)
return job.status
