-- Put deliveries where claims find them: those of an older version, which knew no turns, and what an operator or another
-- program has deleted by hand. Looks at a stretch of all of them, another one each time. Answers how many were missing.
local missing, STRETCH = 0, 100
local start = tonumber(redis.call('GET', ENLISTED) or 0)
local entries = redis.call('ZRANGE', DELIVERIES, start, start + STRETCH - 1, 'WITHSCORES')

local function look_at(id, due)
  local f = redis.pcall('HMGET', DELIVERY .. id, 'owner', 'url')
  if not f[2] then  -- nobody could be called
    redis.call('ZREM', DELIVERIES, id)
    redis.call('DEL', DELIVERY .. id)
    return
  end
  local owner = f[1] or ''
  local before = redis.call('ZSCORE', WEBHOOK_DUE .. lane_of(owner, host_of(f[2])), id)
  enlist(owner, f[2], id, due)
  if not before then missing = missing + 1 end
end

for i = 1, #entries, 2 do look_at(entries[i], tonumber(entries[i + 1])) end
redis.call('SET', ENLISTED, #entries < 2 * STRETCH and 0 or start + STRETCH, 'PX', 86400000)
if missing > 0 then wake(WEBHOOKS) end
return missing
