-- Set right how many jobs of a tenant run: what does not run is not counted, where somebody waits for it; what began before
-- its limit was set, or under an older version, is. Looks at a stretch of all that run, another one each time. Answers how
-- many were wrong, and of other limits that had room.
local now = now_ms()
local found = concurrency.check(now)
if redis.call('EXISTS', FAIRNESS) == 0 then return found end
local start = tonumber(peek('GET', RECOUNTED) or '') or 0
local ids = redis.call('ZRANGE', BY_STATUS .. RUNNING, start, start + STEP - 1)
for _, id in ipairs(ids) do
  if concurrency.count_in(id, now) then found = found + 1 end
end
redis.call('SET', RECOUNTED, #ids < STEP and 0 or start + STEP, 'PX', 86400000)
return found
