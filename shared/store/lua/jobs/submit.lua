-- Store the record and put it in its queue: both or neither.
-- ARGV: head (JSON: id, queue, task, owner, priority, max_attempts, request_id, queue_max, share, and if wanted
--       run_at, delay, expires_in, webhook, url, stream, rpm, idempotency, fingerprint, idempotency_ttl; times in ms),
--       payload, then the fields of RQ's hash.
-- Returns {outcome, …}: 'stored', created_at, due, estimated start or -1, left in the bucket or -1, ms until it is
-- full | 'replay', id | 'conflict', id | 'rate', ms | 'full', waiting, ms or -1 | 'share', waiting, ms or -1.
local head, now = cjson.decode(ARGV[1]), now_ms()
local key = job_key(head.id)
-- The client may repeat a call whose answer it lost: ids are unique, so this is the same call.
local known = redis.call('HMGET', key, 'created_at', 'ready_at')
if known[1] then return {'stored', tonumber(known[1]), tonumber(known[2]), -1, -1, 0} end
local refusal = repeated(head)
if refusal then return refusal end

local counts = redis.call('HMGET', COUNTS .. head.queue, 'queued', 'scheduled')
local waiting = tonumber(counts[1] or 0) + tonumber(counts[2] or 0)
refusal = crowded(head, waiting, now)
if refusal then return refusal end
local left, wait, reset = -1, 0, 0
if head.rpm then
  left, wait, reset = take(RPM .. head.owner, head.rpm, now)
  if wait > 0 then return {'rate', wait} end
end

local due = math.max(now, head.run_at or (now + (head.delay or 0)))
local rate = is_paused(head.queue) and 0 or drain_rate(head.queue, now)
local estimate = rate > 0 and math.max(due, math.ceil(now + waiting / rate)) or -1
local job = {id = head.id, queue = head.queue, task = head.task, owner = head.owner, priority = head.priority,
  created_at = now}
job.status = due > now and 'scheduled' or 'queued'
redis.call('HSET', key, 'id', job.id, 'queue', job.queue, 'task', job.task, 'owner', job.owner, 'payload', ARGV[2],
  'max_attempts', head.max_attempts, 'request_id', head.request_id, 'status', job.status, 'priority', job.priority,
  'attempt', 0, 'created_at', now, 'ready_at', due)
if due > now then redis.call('HSET', key, 'run_at', due) end
if estimate >= 0 then redis.call('HSET', key, 'estimated_start', estimate) end
if head.webhook then redis.call('HSET', key, 'webhook', head.webhook) end
if head.url then redis.call('HSET', key, 'url', head.url) end
if head.stream then redis.call('HSET', key, 'stream', '1') end
if head.expires_in then
  redis.call('HSET', key, 'expires_at', now + head.expires_in)
  redis.call('ZADD', EXPIRING, now + head.expires_in, job.id)
end
remember(head)
redis.call('ZADD', INDEX, now, job.id)
redis.call('ZADD', INDEX .. ':' .. job.owner, now, job.id)
redis.call('SADD', OWNERS, job.owner)
if job.queue == 'llm' then
  engine.llm.describe(job, now)
else
  redis.call('HSET', 'rq:job:' .. job.id, unpack(ARGV, 3))
end
engine[job.queue].enqueue(job, due, now)
count(job, nil, job.status)
emit_status(job.id, job.status, 0, now)
ring(job.queue)
return {'stored', now, due, estimate, left, reset}
