-- Erase finished jobs. ARGV: ids. Returns how many there were.
local erased = 0
for _, id in ipairs(ARGV) do
  local key = job_key(id)
  local f = redis.call('HMGET', key, 'status', 'owner')
  if f[1] and not UNFINISHED[f[1]] then
    erased = erased + 1
    redis.call('DEL', key, 'rq:job:' .. id)
    redis.call('ZREM', INDEX, id)
    redis.call('ZREM', INDEX .. ':' .. f[2], id)
    for _, registry in pairs(RQ_REGISTRY) do redis.call('ZREM', registry, id) end
  end
end
return erased
