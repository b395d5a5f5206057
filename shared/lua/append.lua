-- Append events to a running job. ARGV: id, token, then kind, data (a JSON object), …
-- Returns 1, or 0 if the lease was lost and nothing was written.
local id = ARGV[1]
local f = redis.call('HMGET', job_key(id), 'status', 'token')
if f[1] ~= 'running' or f[2] ~= ARGV[2] then return 0 end
for i = 3, #ARGV, 2 do
  emit(id, ARGV[i], ARGV[i + 1])
  if ARGV[i] == 'progress' then redis.call('HSET', job_key(id), 'progress', ARGV[i + 1]) end
end
return 1
