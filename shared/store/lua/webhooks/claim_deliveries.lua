-- Claim due webhook deliveries. ARGV: lease_ms, limit.
-- Returns {{id, job, event, url, at, attempt, body or '', token}, …} and ms until the next due one or -1.
local now, claimed = now_ms(), {}
if is_paused('webhooks') then return {{}, -1} end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', DELIVERIES, '-inf', now, 'LIMIT', 0, ARGV[2])) do
  local key = DELIVERY .. id
  local f = redis.call('HMGET', key, 'job', 'event', 'url', 'at', 'body')
  if f[1] then
    local token = tostring(redis.call('INCR', FENCE))
    local attempt = redis.call('HINCRBY', key, 'attempt', 1)
    redis.call('HSET', key, 'token', token)
    redis.call('ZADD', DELIVERIES, now + ARGV[1], id)
    claimed[#claimed + 1] = {id, f[1], f[2], f[3], tonumber(f[4]), attempt, f[5] or '', token}
  else
    redis.call('ZREM', DELIVERIES, id)
  end
end
if #claimed < tonumber(ARGV[2]) then redis.call('DEL', BELL .. 'webhooks') end
local head = redis.call('ZRANGE', DELIVERIES, 0, 0, 'WITHSCORES')
return {claimed, head[2] and math.ceil(math.max(0, tonumber(head[2]) - now)) or -1}
