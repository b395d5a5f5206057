-- Append events to a running job. ARGV: id, token, this call's own mark, then kind, data (a JSON object), …
-- Returns 1, or 0 if the lease was lost and nothing was written.
local id = ARGV[1]
local f = redis.call('HMGET', job_key(id), 'status', 'token', 'appended')
if f[1] ~= 'running' or f[2] ~= ARGV[2] then return 0 end
if f[3] == ARGV[3] then return 1 end  -- a repeat of a call whose answer got lost
redis.call('HSET', job_key(id), 'appended', ARGV[3])
for i = 4, #ARGV, 2 do
  emit(id, ARGV[i], ARGV[i + 1])
  if ARGV[i] == 'progress' then redis.call('HSET', job_key(id), 'progress', ARGV[i + 1]) end
end
return 1
