-- Jobs of plain RQ that a worker took and neither adopted nor refused go back to their queue. Answers how many.
local ended = redis.call('ZRANGEBYSCORE', ADOPTING, '-inf', now_ms(), 'LIMIT', 0, STEP)
for _, member in ipairs(ended) do
  local name, id = string.match(member, '^([^ ]*) (.*)$')
  redis.call('ZREM', ADOPTING, member)
  redis.call('LPUSH', RQ_QUEUE .. name, id)
end
return #ended
