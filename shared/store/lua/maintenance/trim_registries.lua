-- Jobs whose records have run out leave the lists of failed ones and RQ's registries, whose scores say when.
-- Answers how many entries.
local now, trimmed, MOST = now_ms(), 0, 1000

local function trim(key, least, most)
  local ids = redis.call('ZRANGEBYSCORE', key, least, most, 'LIMIT', 0, MOST - trimmed)
  if ids[1] then trimmed = trimmed + redis.call('ZREM', key, unpack(ids)) end
end

for _, queue in ipairs(rq_queues()) do
  for _, status in ipairs({SUCCEEDED, FAILED, CANCELLED}) do trim(RQ_REGISTRIES[status] .. queue, 1, now / 1000) end
end
for _, queue in ipairs({LLM, SYNC}) do trim(FAILURES .. queue, '-inf', now) end
return trimmed
