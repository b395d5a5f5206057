-- One stretch of a listing, newest first.
-- ARGV: owner or '', score and id to start after (or '+inf', ''), limit, then task, queue, status or ''.
-- Looks at a bounded number of entries; returns {ids, score, id} of where to go on, or {ids} at the end.
local index = ARGV[1] == '' and INDEX or INDEX .. ':' .. ARGV[1]
local score, after, limit = ARGV[2], ARGV[3], tonumber(ARGV[4])
local STRETCH = 1000

local function wanted(id)
  local f = redis.call('HMGET', job_key(id), 'task', 'queue', 'status')
  for i = 1, 3 do
    if not f[i] or (ARGV[4 + i] ~= '' and ARGV[4 + i] ~= f[i]) then return false end
  end
  return true
end

local page = redis.call('ZRANGE', index, score, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, STRETCH, 'WITHSCORES')
local found, last = {}, nil
for i = 1, #page, 2 do
  local id = page[i]
  -- Of equal scores the ones up to `after` were seen; Redis orders them by id, descending.
  if not (page[i + 1] == score and after ~= '' and id >= after) then
    if wanted(id) then
      if #found == limit then return {found, last[1], last[2]} end
      found[#found + 1] = id
    end
    last = {page[i + 1], id}
  end
end
if #page < 2 * STRETCH or not last then return {found} end
return {found, last[1], last[2]}
