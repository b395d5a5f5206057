-- Keep what a worker says of models and of its limits; the latter beside its heartbeat, and as long as that.
redis.call('SET', LIMIT_MODELS, models, 'PX', kept)
local lives = redis.call('EXISTS', WORKER .. worker) == 1
if lives then redis.call('HSET', WORKER .. worker, 'limits', limits) end
return lives
