-- Heed `arq.jobs.Job.abort()`: arq keeps the wishes in a sorted set. Answers how many were heeded.
local now, heeded = now_ms(), 0
for _, id in ipairs(redis.call('ZRANGE', ARQ_ABORT, 0, MOVED_AT_ONCE - 1)) do
  local status = cancel_job(id, now, ttl)
  -- One that is yet to be adopted is heeded then; a wish for anything else must not outlive this look.
  if status or redis.call('EXISTS', ARQ_JOB .. id) == 0 then redis.call('ZREM', ARQ_ABORT, id) end
  if status and LEGAL[status][CANCELLED] then heeded = heeded + 1 end
end
return heeded
