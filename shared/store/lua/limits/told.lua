-- The limits that live workers of the asyncio pool keep, each different version once.
local MOST_WORKERS, found, seen = 200, {}, {}
for _, id in ipairs(redis.call('ZRANGE', WORKERS .. LLM, now_ms() - WORKER_KEPT_MS, '+inf', 'BYSCORE', 'LIMIT', 0, MOST_WORKERS)) do
  local limits = peek('HGET', WORKER .. id, 'limits')
  if limits and not seen[limits] then
    seen[limits], found[#found + 1] = true, limits
  end
end
return found
