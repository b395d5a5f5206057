-- Append events to a running job. `mark` is this call's own. Answers false if the lease was lost and nothing was written.
local f = redis.pcall('HMGET', job_key(id), 'status', 'token', 'appended')
if f[1] ~= RUNNING or f[2] ~= token then return false end
if f[3] == mark then return true end  -- a repeat of a call whose answer got lost
redis.call('HSET', job_key(id), 'appended', mark)
for _, event in ipairs(events) do
  emit(id, event.kind, event.data)
  if event.kind == 'progress' then redis.call('HSET', job_key(id), 'progress', event.data) end
end
return true
