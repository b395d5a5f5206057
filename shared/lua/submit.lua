-- Store the record and put it in its queue: both or neither.
-- ARGV: id, queue, task, owner, payload, max_attempts, queue_max, request_id,
--       then the engine's own fields (arq: the job's head; RQ: its hash).
-- Returns {created_at} or {-1, waiting} when the queue is full.
local id, queue, owner = ARGV[1], ARGV[2], ARGV[4]
local key = job_key(id)
-- The client may repeat a call whose answer it lost: ids are unique, so this is the same call.
local created = redis.call('HGET', key, 'created_at')
if created then return {tonumber(created)} end

local waiting = redis.call('HMGET', COUNTS .. queue, 'queued', 'scheduled')
local total = tonumber(waiting[1] or 0) + tonumber(waiting[2] or 0)
if total >= tonumber(ARGV[7]) then return {-1, total} end

local now = now_ms()
redis.call('HSET', key, 'id', id, 'queue', queue, 'task', ARGV[3], 'owner', owner, 'payload', ARGV[5],
  'max_attempts', ARGV[6], 'request_id', ARGV[8], 'status', 'queued', 'priority', 'normal',
  'attempt', 0, 'created_at', now)
redis.call('ZADD', INDEX, now, id)
redis.call('ZADD', INDEX .. ':' .. owner, now, id)
redis.call('SADD', OWNERS, owner)
if queue == 'llm' then
  redis.call('SET', 'arq:job:' .. id, ARGV[9] .. string.format('%.0f', now) .. '}')
else
  redis.call('SADD', 'rq:queues', 'rq:queue:sync')
  redis.call('HSET', 'rq:job:' .. id, unpack(ARGV, 9))
end
engine[queue].enqueue(id, now, now)
count(queue, nil, 'queued')
ring(queue)
return {now}
