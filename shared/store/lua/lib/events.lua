-- A job's events, numbered by its record's `seq`. Those of a transition are one field of the record, `e<number>`, as
-- `<status> <attempt> +<ms since it was submitted>`: a run's and an end's stand for two events, the second an `attempt` or
-- the `end`. The end, of which there is one, the record tells by its other fields. Progress and deltas stand in a stream
-- whose ids are their numbers. Who watches now hears of all by a channel.
-- A record without `events` is one of the version before, whose gateways read the stream alone: it has them all there.

local TRANSITIONS_KEPT = 50  -- of a job that is handed back again and again
local MOST_FIELDS = 160  -- of a record before older ones are looked for: others are some 50

-- The numbers of the transitions in a record, oldest first.
local function transitions_of(key)
  local numbers = {}
  for _, name in ipairs(redis.call('HKEYS', key)) do
    numbers[#numbers + 1] = tonumber(string.match(name, '^e(%d+)$'))
  end
  table.sort(numbers)
  return numbers
end

local function forget_transitions(key, kept)
  local numbers = transitions_of(key)
  for i = 1, #numbers - kept do redis.call('HDEL', key, 'e' .. numbers[i]) end
end

local function bound_transitions(id)
  if redis.call('HLEN', job_key(id)) > MOST_FIELDS then forget_transitions(job_key(id), TRANSITIONS_KEPT) end
end

local function forget_events(id)
  redis.call('UNLINK', EVENTS .. id)
  forget_transitions(job_key(id), 0)
end

local function emit(id, kind, data)
  local seq, key = increase(job_key(id), 'seq', 1), EVENTS .. id
  local added = redis.pcall('XADD', key, 'MAXLEN', '~', EVENTS_KEPT, seq .. '-0', kind, data)
  if type(added) == 'table' then  -- no stream, or its numbers are ahead: somebody has spoilt it
    redis.call('UNLINK', key)
    if seq < 1 then
      seq = 1
      redis.call('HSET', job_key(id), 'seq', seq)
    end
    redis.call('XADD', key, seq .. '-0', kind, data)
  end
  redis.call('PUBLISH', WATCH .. id, seq .. ' ' .. kind .. ' ' .. data)
end

local function emit_transition(job, status, now)
  emit(job.id, 'status', '{"status":"' .. status .. '","attempt":' .. job.attempt .. ',"at":"' .. iso(now) .. '"}')
  if status == RUNNING then emit(job.id, 'attempt', '{"attempt":' .. job.attempt .. '}') end
  if not UNFINISHED[status] then emit(job.id, 'end', '{}') end
end

-- Tell of a transition. Returns fields and values that the HSET of the transition has to write with its own.
-- To gateways of the version before the message is one that they have had (0), and an `end` wakes who waits there.
local function log_transition(job, status, now)
  if job.events ~= 'record' then return emit_transition(job, status, now) end
  if not job.seq then forget_events(job.id) end  -- somebody has spoilt it: numbers begin again
  local first = (job.seq or 0) + 1
  job.seq = WAITING[status] and first or first + 1
  local text, goes_on = status .. ' ' .. job.attempt .. ' ', UNFINISHED[status]
  redis.call('PUBLISH', WATCH .. job.id, (goes_on and '0 status ' or '0 end ') .. first .. ' ' .. text .. whole(now))
  if not goes_on then return 'seq', job.seq end
  return 'seq', job.seq, 'e' .. first, text .. '+' .. whole(now - job.created_at)
end
