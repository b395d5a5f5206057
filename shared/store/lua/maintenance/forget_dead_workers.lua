-- RQ lists its workers by name, and a killed one stays in the lists when its key has run out. Answers how many were gone.
local gone, left, lists = 0, STEP, {RQ_WORKERS}
for _, queue in ipairs(rq_queues()) do lists[#lists + 1] = RQ_WORKERS .. ':' .. queue end

local function forget_dead(list)
  local dead, workers = {}, redis.call('SRANDMEMBER', list, left)
  left = left - #workers
  for _, worker in ipairs(workers) do
    if redis.call('EXISTS', worker) == 0 then dead[#dead + 1] = worker end
  end
  if dead[1] then gone = gone + redis.call('SREM', list, unpack(dead)) end
end

local first = math.floor(now_ms() / 500)  -- another one each time: all that may be looked at may stand in a few
for i = 1, #lists do forget_dead(lists[(first + i) % #lists + 1]) end
return gone
