-- One stretch of a listing, newest first.
-- ARGV: owner or '', score and id to start after (or '+inf', ''), limit, then task, queue, status or ''.
-- Looks at a bounded number of entries; returns {ids, score, id} of where to go on, or {ids} at the end.
local index = ARGV[1] == '' and INDEX or INDEX .. ':' .. ARGV[1]
local score, after, limit = ARGV[2], ARGV[3], tonumber(ARGV[4])
local page = redis.call('ZRANGE', index, score, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, 1000, 'WITHSCORES')
local found, last_score, last_id = {}, nil, nil
for i = 1, #page, 2 do
  local id = page[i]
  -- Of equal scores the ones up to `after` were seen; Redis orders them by id, descending.
  if not (page[i + 1] == score and after ~= '' and id >= after) then
    local f = redis.call('HMGET', job_key(id), 'task', 'queue', 'status')
    last_score, last_id = page[i + 1], id
    if f[1] and (ARGV[5] == '' or f[1] == ARGV[5]) and (ARGV[6] == '' or f[2] == ARGV[6])
        and (ARGV[7] == '' or f[3] == ARGV[7]) then
      found[#found + 1] = id
      if #found == limit then return {found, last_score, last_id} end
    end
  end
end
if #page < 2000 or not last_id then return {found} end
return {found, last_score, last_id}
