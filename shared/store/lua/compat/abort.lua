-- Heed `arq.jobs.Job.abort()`: arq keeps the wishes in a sorted set. ARGV: ttl_ms. Returns how many were heeded.
local now, heeded = now_ms(), 0
for _, id in ipairs(redis.call('ZRANGE', 'arq:abort', 0, 99)) do
  local status = cancel(id, now, tonumber(ARGV[1]))
  -- One that is yet to be adopted is heeded then; a wish for anything else must not outlive this look.
  if status or redis.call('EXISTS', 'arq:job:' .. id) == 0 then redis.call('ZREM', 'arq:abort', id) end
  if status and LEGAL[status].cancelled then heeded = heeded + 1 end
end
return heeded
