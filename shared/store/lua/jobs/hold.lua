-- Take a named lock that lasts as long as the holder's lease. Answers whether it is taken.
local key = LOCK .. name
local holder = redis.call('HMGET', key, 'id', 'token')
if holder[1] and not (holder[1] == job_id and holder[2] == token) then
  local f = redis.call('HMGET', job_key(holder[1]), 'status', 'token')
  if f[1] == RUNNING and f[2] == holder[2] then return false end
end
redis.call('HSET', key, 'id', job_id, 'token', token)
redis.call('PEXPIRE', key, 86400000)
return true
