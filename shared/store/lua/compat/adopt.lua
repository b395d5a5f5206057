-- Take a job that came through plain arq or RQ into the job book.
-- ARGV: id, queue, task, payload, max_attempts, native (arq | rq), priority, RQ's queue or ''.
-- Returns 1, or 0 if it is there already and has not ended.
local id, now = ARGV[1], now_ms()
local key = job_key(id)
local job = {id = id, queue = ARGV[2], task = ARGV[3], owner = 'external', priority = ARGV[7], native = ARGV[6],
  origin = ARGV[8] ~= '' and ARGV[8] or nil, created_at = now}
-- Aborted already: it does not start before that wish is heeded.
local due = redis.call('ZSCORE', 'arq:abort', id) and now + 3000 or now
job.status = due > now and 'scheduled' or 'queued'
if job.origin then redis.call('ZREM', ADOPTING, job.origin .. ' ' .. id) end
local former = load(id)
if former then
  if UNFINISHED[former.status] or former.native ~= 'rq' then return 0 end
  -- RQ lets an id be enqueued again: what became of it the last time gives way.
  redis.call('DEL', key, EVENTS .. id)
  redis.call('ZREM', FAILED .. former.queue, id)
  engine[former.queue].revive(former, now)
end
redis.call('HSET', key, 'id', id, 'queue', job.queue, 'task', job.task, 'owner', job.owner, 'payload', ARGV[4],
  'max_attempts', ARGV[5], 'request_id', '', 'status', job.status, 'priority', job.priority, 'attempt', 0,
  'created_at', now, 'ready_at', due, 'native', job.native)
if job.origin then redis.call('HSET', key, 'origin', job.origin) end
redis.call('ZADD', INDEX, now, id)
redis.call('ZADD', INDEX .. ':' .. job.owner, now, id)
redis.call('SADD', OWNERS, job.owner)
redis.call('PERSIST', job.queue == 'llm' and 'arq:job:' .. id or 'rq:job:' .. id)
engine[job.queue].enqueue(job, due, now, true)
count(job, nil, job.status)
emit_status(id, job.status, 0, now)
ring(job.queue)
return 1
