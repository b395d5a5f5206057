-- One stretch of a listing, newest first.
-- ARGV: owner or '', score and id to start after (or '+inf', ''), limit, then task, queue, status or '',
--       and the time in ms at which a job must have ended at the earliest, or 0.
-- Looks at a bounded number of entries; returns {ids, score, id} of where to go on, or {ids} at the end.
local owner, score, after, limit, ended_after = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[8])
local STRETCH = 1000

local function wanted(id)
  local f = redis.call('HMGET', job_key(id), 'task', 'queue', 'status', 'finished_at')
  for i = 1, 3 do
    if not f[i] or (ARGV[4 + i] ~= '' and ARGV[4 + i] ~= f[i]) then return false end
  end
  return ended_after == 0 or (f[4] and tonumber(f[4]) >= ended_after)
end

-- Failed jobs have an index of their own. A short one is read whole, so that few among very many are found at
-- once; a long one is not worth it. Entries are {score, id}; nil if there are too many.
local function failed()
  local ids, entries = {}, {}
  for _, queue in ipairs({'llm', 'sync'}) do
    if redis.call('ZCARD', FAILED .. queue) > STRETCH then return nil end
    for _, id in ipairs(redis.call('ZRANGE', FAILED .. queue, 0, -1)) do ids[#ids + 1] = id end
  end
  for _, id in ipairs(ids) do
    local f = redis.call('HMGET', job_key(id), 'created_at', 'owner')
    if f[1] and (owner == '' or owner == f[2]) and tonumber(f[1]) <= tonumber(score) then
      entries[#entries + 1] = {f[1], id}
    end
  end
  table.sort(entries, function(a, b)
    if a[1] == b[1] then return a[2] > b[2] end
    return tonumber(a[1]) > tonumber(b[1])
  end)
  return entries
end

local function everything()
  local index, entries = owner == '' and INDEX or INDEX .. ':' .. owner, {}
  local page = redis.call('ZRANGE', index, score, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, STRETCH, 'WITHSCORES')
  for i = 1, #page, 2 do entries[#entries + 1] = {page[i + 1], page[i]} end
  return entries
end

local whole_index = ARGV[7] == 'failed' and failed()
local entries = whole_index or everything()
local found, last = {}, nil
for _, entry in ipairs(entries) do
  local id = entry[2]
  -- Of equal scores the ones up to `after` were seen; Redis orders them by id, descending.
  if not (entry[1] == score and after ~= '' and id >= after) then
    if wanted(id) then
      if #found == limit then return {found, last[1], last[2]} end
      found[#found + 1] = id
    end
    last = entry
  end
end
if whole_index or #entries < STRETCH or not last then return {found} end
return {found, last[1], last[2]}
