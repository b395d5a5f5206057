-- RQ lists its workers by name, and a killed one stays in the lists when its key has run out. Answers how many were gone.
local gone = 0

local function forget_dead(list)
  for _, worker in ipairs(redis.call('SRANDMEMBER', list, STEP)) do
    if redis.call('EXISTS', worker) == 0 then gone = gone + redis.call('SREM', list, worker) end
  end
end

forget_dead(RQ_WORKERS)
for _, queue in ipairs(rq_queues()) do forget_dead(RQ_WORKERS .. ':' .. queue) end
return gone
