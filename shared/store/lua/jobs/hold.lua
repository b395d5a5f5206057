-- Take a named lock that lasts as long as the holder's lease; it goes with the end of that run (release_locks). Answers
-- whether it is taken.
local key, job = LOCK .. name, load_job(job_id)
if not job or job.status ~= RUNNING or job.token ~= token then return false end
local holder = redis.pcall('HMGET', key, 'id', 'token')
if holder[1] == job_id and holder[2] == token then return true end
if holder[1] then
  local f = redis.pcall('HMGET', job_key(holder[1]), 'status', 'token')
  if f[1] == RUNNING and f[2] == holder[2] then return false end
end
redis.call('DEL', key)
redis.call('HSET', key, 'id', job_id, 'token', token)
redis.call('HSET', job_key(job_id), 'locks', (job.locks and job.locks .. '\n' or '') .. name)
return true
