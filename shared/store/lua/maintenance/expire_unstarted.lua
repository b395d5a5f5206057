-- Jobs that did not begin in time are over. Answers how many.
local now, expired = now_ms(), 0
for _, id in ipairs(redis.call('ZRANGEBYSCORE', EXPIRING, '-inf', now, 'LIMIT', 0, STEP)) do
  if expired == MOVED_AT_ONCE then break end
  redis.call('ZREM', EXPIRING, id)
  local job = load_job(id)
  if job and WAITING[job.status] and end_overdue(job, now, ttl) then expired = expired + 1 end
end
return expired
