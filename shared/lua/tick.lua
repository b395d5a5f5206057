-- One step of the clock: due sync jobs to their queue, sync jobs of dead workers back or fenced
-- off, dead entries out of the indexes. Bounded, so that a step blocks nobody; the clock comes again.
-- ARGV: ttl_ms. Returns {moved, reaped, trimmed}.
local now, ttl, STEP = now_ms(), tonumber(ARGV[1]), 200
local moved, reaped, trimmed = 0, 0, 0
after_a_gap('sync', 'rq:wip:sync', 1000, now)
for _, id in ipairs(redis.call('ZRANGEBYSCORE', 'rq:scheduled:sync', '-inf', now / 1000, 'LIMIT', 0, STEP)) do
  redis.call('ZREM', 'rq:scheduled:sync', id)
  if redis.call('HGET', job_key(id), 'status') == 'scheduled' then
    requeue(id, 'sync', 'scheduled', '', now, now)
    moved = moved + 1
  end
end
for _, member in ipairs(redis.call('ZRANGEBYSCORE', 'rq:wip:sync', '-inf', now / 1000, 'LIMIT', 0, STEP)) do
  local id, token = string.match(member, '^(.*):([^:]*)$')
  redis.call('ZREM', 'rq:wip:sync', member)
  local f = redis.call('HMGET', job_key(id), 'status', 'token')
  if f[1] == 'running' and f[2] == token then
    if not crashed(id, 'sync', token, now, ttl) then requeue(id, 'sync', 'running', token, now, now, true) end
    reaped = reaped + 1
  end
end
for _, registry in ipairs({'rq:finished:sync', 'rq:failed:sync', 'rq:canceled:sync'}) do
  redis.call('ZREMRANGEBYSCORE', registry, 1, now / 1000)
end
if not redis.call('SET', TRIMMED, now, 'NX', 'PX', 60000) then return {moved, reaped, trimmed} end
local indexes = {INDEX}
for _, owner in ipairs(redis.call('SMEMBERS', OWNERS)) do indexes[#indexes + 1] = INDEX .. ':' .. owner end
for _, index in ipairs(indexes) do
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', index, '-inf', now - ttl, 'LIMIT', 0, STEP)) do
    if redis.call('EXISTS', job_key(id)) == 0 then trimmed = trimmed + redis.call('ZREM', index, id) end
  end
end
return {moved, reaped, trimmed}
