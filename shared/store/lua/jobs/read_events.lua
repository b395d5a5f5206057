-- What is kept of a job's events after a number: all transitions, of which the first may begin with it, and of the
-- stream `count` entries at most.
local key, names, transitions, entries, is_named = JOB .. id, {}, {}, {}, {}
for _, name in ipairs(redis.call('HKEYS', key)) do
  local first = tonumber(string.match(name, '^e(%d+)$'))
  if first and first >= after then names[#names + 1] = name end
end
if names[1] then
  for i, text in ipairs(redis.call('HMGET', key, unpack(names))) do
    is_named[names[i]] = true
    transitions[i] = Transition{first = string.sub(names[i], 2), text = text}
  end
end
-- The end, which the version before has named as well.
local job = {}
for i, text in ipairs(redis.call('HMGET', key, 'events', 'status', 'attempt', 'finished_at', 'seq', 'created_at')) do
  job[i] = text or nil
end
local events, status, attempt, finished_at, seq, created_at = unpack(job, 1, 6)
local first = (tonumber(seq or '') or 0) - 1
if events and attempt and finished_at and not UNFINISHED[status] and first >= after and not is_named['e' .. first] then
  local text = status .. ' ' .. attempt .. ' ' .. finished_at
  transitions[#transitions + 1] = Transition{first = string.format('%.0f', first), text = text}
end
for i, entry in ipairs(redis.call('XRANGE', EVENTS .. id, string.format('(%.0f-0', after), '+', 'COUNT', count)) do
  entries[i] = Event{seq = string.match(entry[1], '^%d+'), kind = entry[2][1], data = entry[2][2]}
end
return Kept{created_at = created_at, transitions = transitions, entries = entries}
