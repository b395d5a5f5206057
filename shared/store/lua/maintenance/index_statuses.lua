-- Look at a stretch of all jobs, oldest first, for rare statuses whose index does not name them: jobs of a version that
-- had no such indexes, and what another program has deleted. Answers how many were missing.
local missing, start = 0, tonumber(redis.call('HGET', INDEXED_UP_TO, 'rank') or '') or 0
local entries = redis.call('ZRANGE', INDEX, start, start + STEP - 1, 'WITHSCORES')
for i = 1, #entries, 2 do
  local status = peek('HGET', job_key(entries[i]), 'status')
  if RARE[status] then missing = missing + redis.call('ZADD', BY_STATUS .. status, 'NX', entries[i + 1], entries[i]) end
end
local is_end = #entries < 2 * STEP
redis.call('HSET', INDEXED_UP_TO, 'rank', is_end and 0 or start + STEP)
if is_end then redis.call('HSETNX', INDEXED_UP_TO, 'all', 1) end
return missing
