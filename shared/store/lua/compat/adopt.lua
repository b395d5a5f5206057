-- Take a job that came through plain arq or RQ into the job book.
-- Answers false if it is there already and has not ended.
local now, key = now_ms(), job_key(job_id)
local job = {id = job_id, queue = queue, task = task, owner = 'external', priority = priority, native = native,
  origin = origin, created_at = now, lane = lane, attempt = 0, seq = 0, events = 'record'}
-- Aborted already: it does not start before that wish is heeded.
local due = redis.call('ZSCORE', ARQ_ABORT, job_id) and now + 3000 or now
job.status = due > now and SCHEDULED or QUEUED
if origin then redis.call('ZREM', ADOPTING, origin .. ' ' .. job_id) end
local former = load_job(job_id)
if former then
  if UNFINISHED[former.status] or former.native ~= 'rq' then return false end
  -- RQ lets an id be enqueued again: what became of it the last time gives way.
  redis.call('UNLINK', key, PAYLOAD .. job_id, RESULT .. job_id)
  redis.call('ZREM', FAILURES .. former.queue, job_id)
  engine[former.queue].revive(former, now)
end
if redis.call('TYPE', key).ok ~= 'hash' then redis.call('DEL', key) end
forget_events(job_id)
local kept = {}
keep_text(job, 'payload', payload, payload_bytes, kept)
redis.call('HSET', key, 'id', job_id, 'queue', queue, 'task', task, 'owner', job.owner, kept[1], kept[2],
  'max_attempts', max_attempts, 'request_id', '', 'status', job.status, 'priority', priority, 'attempt', 0,
  'created_at', now, 'ready_at', due, 'native', native, 'events', job.events, log_transition(job, job.status, now))
if origin then redis.call('HSET', key, 'origin', origin) end
if lane then redis.call('HSET', key, 'lane', lane) end
if max_age then redis.call('HSET', key, 'give_up_at', due + max_age) end
redis.call('ZADD', INDEX, now, job_id)
redis.call('ZADD', INDEX .. ':' .. job.owner, now, job_id)
redis.call('SADD', OWNERS, job.owner)
redis.call('PERSIST', (queue == LLM and ARQ_JOB or RQ_JOB) .. job_id)
engine[queue].enqueue(job, due, now, true)
count(job, former and former.status, job.status)
wake(queue)
return true
