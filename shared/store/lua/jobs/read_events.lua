-- What is kept of a job's events after a number: all transitions, of which the first may begin with it, and of the
-- stream `count` entries at most.
local key, names, transitions, entries = JOB .. id, {}, {}, {}
for _, name in ipairs(redis.call('HKEYS', key)) do
  local first = tonumber(string.match(name, '^e(%d+)$'))
  if first and first >= after then names[#names + 1] = name end
end
if names[1] then
  for i, text in ipairs(redis.call('HMGET', key, unpack(names))) do
    transitions[i] = Transition{first = string.sub(names[i], 2), text = text}
  end
end
for i, entry in ipairs(redis.call('XRANGE', EVENTS .. id, string.format('(%.0f-0', after), '+', 'COUNT', count)) do
  entries[i] = Event{seq = string.match(entry[1], '^%d+'), kind = entry[2][1], data = entry[2][2]}
end
return Kept{transitions = transitions, entries = entries}
