-- Forget a worker that has stopped. ARGV: queue, worker, key that shows arq's health or ''.
-- Returns how many are left; with the last one goes the key.
local key = WORKERS .. ARGV[1]
redis.call('ZREM', key, ARGV[2])
redis.call('DEL', WORKER .. ARGV[2])
redis.call('ZREMRANGEBYSCORE', key, '-inf', now_ms() - WORKER_KEPT_MS)
local left = redis.call('ZCARD', key)
if left == 0 and ARGV[3] ~= '' then redis.call('DEL', ARGV[3]) end
return left
