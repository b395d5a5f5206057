-- Forget a worker that has stopped; `health` is the key that shows arq's. Answers how many are left; with the last one
-- goes the key.
local key = WORKERS .. queue
redis.call('ZREM', key, worker)
redis.call('DEL', WORKER .. worker)
redis.call('ZREMRANGEBYSCORE', key, '-inf', now_ms() - WORKER_KEPT_MS)
local left = redis.call('ZCARD', key)
if left == 0 and health then redis.call('DEL', health) end
return left
