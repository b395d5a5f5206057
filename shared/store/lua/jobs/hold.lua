-- Take a named lock that lasts as long as the holder's lease. ARGV: name, id, token. Returns 1 or 0.
local key = LOCK .. ARGV[1]
local holder = redis.call('HMGET', key, 'id', 'token')
if holder[1] and not (holder[1] == ARGV[2] and holder[2] == ARGV[3]) then
  local f = redis.call('HMGET', job_key(holder[1]), 'status', 'token')
  if f[1] == 'running' and f[2] == holder[2] then return 0 end
end
redis.call('HSET', key, 'id', ARGV[2], 'token', ARGV[3])
redis.call('PEXPIRE', key, 86400000)
return 1
