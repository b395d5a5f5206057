-- Take over what a process has read in its config file, unless one that began later has said something else. Who waits
-- where there is room now comes back, and who runs already is counted, a few of each: the clock goes on with that. Answers
-- when that process began, by Redis's clock.
local now = now_ms()
local said = redis.call('HMGET', FAIRNESS_TOLD, 'digest', 'since')
local since, other = process_began or now, tonumber(said[2] or '') or 0
if said[1] ~= digest and other > since and other <= now then return since end
redis.call('HSET', FAIRNESS_TOLD, 'digest', digest, 'since', since)
if said[1] == digest and redis.call('HLEN', FAIRNESS) == #rows then return since end
redis.call('DEL', FAIRNESS)
for _, row in ipairs(rows) do redis.call('HSET', FAIRNESS, row.field, row.value) end
for _, name in ipairs(redis.call('ZRANGE', ASIDE_LIMITS, 0, -1)) do
  if out_of_time() then redis.call('ZADD', ASIDE_LIMITS, now, name) else concurrency.open(name) end
end
for _, id in ipairs(redis.call('ZRANGE', BY_STATUS .. RUNNING, 0, STEP - 1)) do
  if #rows == 0 then break end
  concurrency.count_in(id, now)
end
return since
