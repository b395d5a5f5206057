-- Erase finished jobs. ARGV: ids. Returns how many there were.
local erased = 0
for _, id in ipairs(ARGV) do
  local job = load(id)
  if job and not UNFINISHED[job.status] then
    erased = erased + 1
    local idempotency = IDEMPOTENCY .. (redis.call('HGET', job_key(id), 'idempotency') or '')
    -- A key that was forgotten and used again leads to another job.
    if redis.call('HGET', idempotency, 'id') == id then redis.call('DEL', idempotency) end
    redis.call('DEL', job_key(id), EVENTS .. id, SENT .. id)
    redis.call('ZREM', INDEX, id)
    redis.call('ZREM', INDEX .. ':' .. job.owner, id)
    redis.call('ZREM', FAILED .. job.queue, id)
    engine[job.queue].forget(job)
  end
end
return erased
