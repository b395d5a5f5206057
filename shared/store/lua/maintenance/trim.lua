-- Look at a stretch of an index, oldest first, for entries without a record.
-- ARGV: owner or '', rank to start at, '1' to only count. Returns {dead entries, where to go on or -1}.
local index = ARGV[1] == '' and INDEX or INDEX .. ':' .. ARGV[1]
local start, STRETCH = tonumber(ARGV[2]), 500
local ids = redis.call('ZRANGE', index, start, start + STRETCH - 1)
local dead = 0
for _, id in ipairs(ids) do
  if redis.call('EXISTS', job_key(id)) == 0 then
    dead = dead + 1
    if ARGV[3] ~= '1' then redis.call('ZREM', index, id) end
  end
end
if #ids < STRETCH then return {dead, -1} end
return {dead, start + STRETCH - (ARGV[3] == '1' and 0 or dead)}
