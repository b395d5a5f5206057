-- Claim up to `limit` due jobs of the asyncio pool.
-- ARGV: worker, lease_ms, ttl_ms, limit. Returns {leases, ids that are not ours, ms until the next due id or -1}.
local now = now_ms()
local leases, unknown = {}, {}
after_a_gap('llm', LEASES, 1, now)
local ids = redis.call('ZRANGEBYSCORE', LEASES, '-inf', now, 'LIMIT', 0, ARGV[4])
for _, id in ipairs(redis.call('ZRANGEBYSCORE', 'arq:queue', '-inf', now, 'LIMIT', 0, ARGV[4])) do
  if #ids < tonumber(ARGV[4]) and not redis.call('ZSCORE', LEASES, id) then ids[#ids + 1] = id end
end
for _, id in ipairs(ids) do
  local lease, why = claim(id, 'llm', ARGV[1], now, tonumber(ARGV[2]), tonumber(ARGV[3]))
  if lease then
    leases[#leases + 1] = lease
  elseif why == 'unknown' then
    -- Not in the job book: leave it to its owner, out of the way of the others.
    redis.call('ZADD', 'arq:queue', now + 60000, id)
    redis.call('ZREM', LEASES, id)
    unknown[#unknown + 1] = id
  elseif why == 'finished' then
    engine.llm.finish(id)
  end
end
local head = redis.call('ZRANGE', 'arq:queue', 0, 0, 'WITHSCORES')
return {leases, unknown, head[2] and math.max(0, tonumber(head[2]) - now) or -1}
