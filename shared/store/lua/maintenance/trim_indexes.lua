-- Entries without a record leave the indexes, and those of rare statuses what has another one. Answers how many.
local now, trimmed = now_ms(), 0
if not redis.call('SET', TRIMMED, now, 'NX', 'PX', 60000) then return 0 end

local function is_dead(id, status)
  if status then return peek('HGET', job_key(id), 'status') ~= status end
  return redis.call('EXISTS', job_key(id)) == 0
end

local function trim(index, status)
  -- A stretch of what is old enough, another one each time: jobs that live on must not hide the dead behind them.
  local old = redis.call('ZCOUNT', index, '-inf', now - ttl)
  local start = old > STEP and now % (old - STEP + 1) or 0
  local dead = {}
  for _, id in ipairs(redis.call('ZRANGE', index, start, start + STEP - 1)) do
    if is_dead(id, status) then dead[#dead + 1] = id end
  end
  if dead[1] and not status then forget_texts(dead) end
  if dead[1] then trimmed = trimmed + redis.call('ZREM', index, unpack(dead)) end
end

trim(INDEX)
for status in pairs(RARE) do
  if out_of_time() then break end
  trim(BY_STATUS .. status, status)
end
for _, owner in ipairs(redis.call('SRANDMEMBER', OWNERS, 20)) do
  if out_of_time() then break end
  trim(INDEX .. ':' .. owner)
end
if trimmed >= STEP then redis.call('DEL', TRIMMED) end  -- there are more: go on with the next step
return trimmed
