-- One stretch of a listing, newest first, that goes on after the entry `after` with that score. `ended_after` is when a
-- job must have ended at the earliest, or 0. Looks at a bounded number of entries.
local STRETCH = 250

local function is_wanted(id)
  local f = redis.pcall('HMGET', job_key(id), 'task', 'queue', 'status', 'finished_at', 'owner')
  return f[1] and (not task or task == f[1]) and (not queue or queue == f[2]) and (not status or status == f[3])
    and (ended_after == 0 or (tonumber(f[4]) or 0) >= ended_after) and (not owner or owner == f[5])
end

-- The shortest index that has all that is wanted. All have the same scores, so that a listing may go on in another one.
local function shortest_index()
  local index = owner and INDEX .. ':' .. owner or INDEX
  local has_rare = status and RARE[status] and redis.call('HEXISTS', INDEXED_UP_TO, 'all') == 1
  if not has_rare then return index end
  local by_status = BY_STATUS .. status
  return redis.call('ZCARD', by_status) < redis.call('ZCARD', index) and by_status or index
end

local found, last = {}, nil
local entries = redis.call('ZRANGE', shortest_index(), score, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, STRETCH, 'WITHSCORES')
for i = 1, #entries, 2 do
  local entry = {score = entries[i + 1], id = entries[i]}
  -- Of equal scores the ones up to `after` were seen; Redis orders them by id, descending.
  if not (entry.score == score and after ~= '' and entry.id >= after) then
    if is_wanted(entry.id) then
      if #found == limit then return Page{ids = found, next = Position(last)} end
      found[#found + 1] = entry.id
    end
    last = entry
  end
end
if #entries < 2 * STRETCH or not last then return Page{ids = found} end
return Page{ids = found, next = Position(last)}
