-- Claim due webhook deliveries; `claim` names this call.
local now, claimed = now_ms(), {}
if is_paused(WEBHOOKS) then return Due{deliveries = {}} end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', DELIVERIES, '-inf', now, 'LIMIT', 0, limit)) do
  local key = DELIVERY .. id
  local f = redis.pcall('HMGET', key, 'job', 'event', 'url', 'at', 'body')
  if f[1] and f[2] and f[3] and f[4] and is_count(f[4]) then
    local token = new_token(claim)
    local attempt = increase(key, 'attempt', 1)
    redis.call('HSET', key, 'token', token)
    redis.call('ZADD', DELIVERIES, now + lease, id)
    claimed[#claimed + 1] = Delivery{id = id, job = f[1], event = f[2], url = f[3], at = f[4], attempt = attempt,
      body = f[5] or '', token = token}
  else
    redis.call('ZREM', DELIVERIES, id)
    redis.call('DEL', key)
  end
end
if #claimed < limit then redis.call('DEL', WAKEUP .. WEBHOOKS) end
local head = redis.call('ZRANGE', DELIVERIES, 0, 0, 'WITHSCORES')
return Due{deliveries = claimed, next_due = head[2] and math.ceil(math.max(0, tonumber(head[2]) - now))}
