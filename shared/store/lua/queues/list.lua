-- One stretch of a listing, newest first, that goes on after the entry `after` with that score. `ended_after` is when a
-- job must have ended at the earliest, or 0. Looks at a bounded number of entries.
local STRETCH = 1000

local function is_wanted(id)
  local f = redis.pcall('HMGET', job_key(id), 'task', 'queue', 'status', 'finished_at')
  return f[1] and (not task or task == f[1]) and (not queue or queue == f[2]) and (not status or status == f[3])
    and (ended_after == 0 or (tonumber(f[4]) or 0) >= ended_after)
end

-- Failed jobs have an index of their own. A short one is read whole, so that few among very many are found at
-- once; a long one is not worth it. Entries are {score, id}; nil if there are too many.
local function failed_entries()
  local ids, entries = {}, {}
  for _, pool in ipairs({LLM, SYNC}) do
    if redis.call('ZCARD', FAILURES .. pool) > STRETCH then return nil end
    for _, id in ipairs(redis.call('ZRANGE', FAILURES .. pool, 0, -1)) do ids[#ids + 1] = id end
  end
  for _, id in ipairs(ids) do
    local f = redis.pcall('HMGET', job_key(id), 'created_at', 'owner')
    if is_count(f[1]) and (not owner or owner == f[2]) and tonumber(f[1]) <= tonumber(score) then
      entries[#entries + 1] = {score = f[1], id = id}
    end
  end
  table.sort(entries, function(a, b)
    if a.score == b.score then return a.id > b.id end
    return tonumber(a.score) > tonumber(b.score)
  end)
  return entries
end

local function all_entries()
  local index, entries = owner and INDEX .. ':' .. owner or INDEX, {}
  local stretch = redis.call('ZRANGE', index, score, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, STRETCH, 'WITHSCORES')
  for i = 1, #stretch, 2 do entries[#entries + 1] = {score = stretch[i + 1], id = stretch[i]} end
  return entries
end

local whole_index = status == FAILED and failed_entries()
local entries = whole_index or all_entries()
local found, last = {}, nil
for _, entry in ipairs(entries) do
  -- Of equal scores the ones up to `after` were seen; Redis orders them by id, descending.
  if not (entry.score == score and after ~= '' and entry.id >= after) then
    if is_wanted(entry.id) then
      if #found == limit then return Page{ids = found, next = Position(last)} end
      found[#found + 1] = entry.id
    end
    last = entry
  end
end
if whole_index or #entries < STRETCH or not last then return Page{ids = found} end
return Page{ids = found, next = Position(last)}
