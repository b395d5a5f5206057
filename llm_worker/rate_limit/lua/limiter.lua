-- The operations on reservations; parks.lua does them in their order.
--   acquire  ticket, by, tokens, sort, levels, park, urgent  -> Granted, Waiting or TooLarge
--   settle   ticket, by, tokens? (none: nothing was sent), seen?  -> Done
--   renew    tickets, by                               -> Done
-- and those of parks.lua, which is put behind this. Each may be repeated when its answer got lost.

-- Redis's clock may go back. What was free, held or booked would then be so for as long as the jump: by this clock, which
-- stands still instead and runs on from there, nobody notices. All times in the limiter's keys are of it.
local function monotonic(clock)
  local last = redis.call('HMGET', TIME, 'seen', 'behind')
  local time = math.max(clock + (tonumber(last[2]) or 0), tonumber(last[1]) or 0)
  redis.call('HSET', TIME, 'seen', number(time), 'behind', number(time - clock))
  return time
end

local now = monotonic(now_us())

-- --- counters for /metrics

local function tally(field, by) redis.call('HINCRBY', METRICS, field, by) end
local function labels(gate) return (string.gsub(gate.level.name, '|', '/')) .. '|' .. gate.kind end

-- A place was found at last, for whose sake it waited so long.
local function tally_wait(r)
  local name = r.why == 'parked' and '|park' or string.gsub(string.gsub(r.why, '|', '/'), ' (%w+)$', '|%1')
  tally('limit_waits|' .. name, 1)
  tally('limit_waited|' .. name, math.max(0, math.floor((now - r.since) / 1000)))
end

local function tally_held(gate)
  redis.call('HSET', METRICS, 'limit_held|' .. labels(gate), redis.call('ZCARD', HELD .. gate.level.name))
end

local function tally_start(list)
  for _, gate in ipairs(list) do
    redis.call('HSET', METRICS, 'limit|' .. labels(gate), gate.limit)
    if gate.kind == 'rpm' then tally('limit_used|' .. labels(gate), 1) end
    if gate.kind == 'concurrency' then tally_held(gate) end
  end
end

-- --- reservations: `waiting` for a booked time, `held` by a request on its way, or `lapsed`

local function read(ticket)
  local text = redis.call('HGET', RESERVED, ticket)
  if not text then return nil end
  local r = cjson.decode(text)
  r.at, r.since = tonumber(r.at), tonumber(r.since)  -- texts in JSON, whose numbers have 14 digits here
  return r
end

local function write(ticket, r, deadline)
  r.at, r.since = number(r.at), number(r.since)
  redis.call('HSET', RESERVED, ticket, cjson.encode(r))
  redis.call('ZADD', DEADLINES, number(deadline), ticket)
end

local function forget(ticket)
  redis.call('HDEL', RESERVED, ticket)
  redis.call('ZREM', DEADLINES, ticket)
end

local function unbook(ticket, r)
  for _, gate in ipairs(gates(r.levels, r.tokens, r.sort)) do
    if r.booked[gate.key] then gate:unbook(r.booked[gate.key], ticket) end
  end
end

-- What was held is over, having used so many requests and tokens. `known`: that is what the provider said.
local function release(ticket, r, requests, tokens, known)
  for _, gate in ipairs(gates(r.levels, r.tokens, r.sort)) do
    if gate.kind == 'concurrency' then
      gate:release(now, ticket, known and r.at)
      tally_held(gate)
    elseif r.taken[gate.key] then
      gate:settle(r.taken[gate.key], gate.kind == 'tpm' and tokens or requests)
      if known and gate.kind == 'tpm' then
        gate:learn(tokens)
        tally('limit_used|' .. labels(gate), tokens)
      end
      if requests == 0 then gate:send(now, -gate.n) end
    end
  end
  forget(ticket)
end

-- Leases that ran out: the tokens of those who died come back, and the places of those who did not come.
local function reap()
  for _, ticket in ipairs(redis.call('ZRANGEBYSCORE', DEADLINES, '-inf', now, 'LIMIT', 0, 200)) do
    local r = read(ticket)
    if r and r.state == 'held' then
      release(ticket, r, 1, 0, false)
    elseif r and r.state == 'waiting' then
      unbook(ticket, r)
      r.state, r.booked = 'lapsed', {}
      write(ticket, r, now + LAPSED)
    else
      forget(ticket)
    end
  end
end

-- --- operations

local function park_of(name)
  local f = redis.call('HMGET', PARK .. name, 'until', 'waiting')
  return tonumber(f[1]) or 0, tonumber(f[2]) or 0
end

local function reserve(op, who, fields, deadline)
  fields.levels, fields.tokens, fields.sort, fields.since = op.levels, op.tokens, op.sort, who.since
  write(op.ticket, fields, deadline)
end

-- Come back after the park, one after the other.
local function wait_parked(op, who, parked_until)
  local nth = redis.call('HINCRBY', PARK .. op.park, 'waiting', 1) - 1
  local at = parked_until + (nth % RAMP_LENGTH) * RAMP
  reserve(op, who, {state = 'waiting', at = at, booked = {}, why = 'parked'}, at + LEASE)
  return Waiting{delay = math.ceil(at - now), reason = 'parked'}
end

local function grant(op, who, list, start)
  local taken = {}
  for _, gate in ipairs(list) do taken[gate.key] = gate:take(now, who) end
  reserve(op, who, {state = 'held', by = op.by, at = start, taken = taken}, now + LEASE)
  tally_start(list)
  return Granted{delay = math.ceil(start - now)}
end

-- When each limit lets it start, when all do, and which is the last; none if it may start now.
local function starts(list, who)
  local at, start, last = {}, now, nil
  for i, gate in ipairs(list) do
    at[i] = gate:start(now, who)
    if at[i] > start then start, last = at[i], gate end
  end
  return at, start, last
end

-- How near a start must be to be granted now, and to be waited for without a new place.
local function nearness(list, at, last, who)
  local slots, free = false, true
  for i, gate in ipairs(list) do
    if gate.kind == 'concurrency' then slots, free = true, free and at[i] <= now end
  end
  if not free or not last then return 0, 0 end
  if slots then  -- one must not be held by somebody who sleeps: who is early waits without it
    who.least_lead = NEAR_SLOTS
    return NEAR_SLOTS, 2 * last:lead(who)
  end
  local near = who.early and last:lead(who) + LATE or NEAR
  return near, near
end

-- Only the limits that make it wait are booked: the others must not wait for this request.
local function wait(op, who, list, at, start, last)
  local places, latest, late = {}, now + LONGEST_WAIT, false
  for i, gate in ipairs(list) do
    local binding = at[i] > now and at[i] >= start - NEAR
    if not binding then
      gate:leave(op.ticket)
    elseif gate:cold() and at[i] > now + COLD_WAIT then
      latest, late = now + COLD_WAIT, not who.early
    else
      places[gate.key] = gate:book(now, who)
    end
  end
  start = math.min(start, latest)
  local come = math.max(start - last:lead(who), now + 1000)  -- a start by rate is granted a little ahead, to the microsecond
  reserve(op, who, {state = 'waiting', at = come, booked = places, why = last.key, late = late}, start + LEASE)
  return Waiting{delay = math.ceil(come - now), reason = last.key}
end

-- It has come for its place, is next, and keeps that.
local function linger(op, r, start)
  r.at = math.max(start - NEAR_SLOTS, now + SHORTEST)
  write(op.ticket, r, start + LEASE)
  return Waiting{delay = math.ceil(r.at - now), reason = r.why}
end

-- Who comes for a first time, and who comes back: its places, and the time since when it waits.
local function known(op, r)
  local who = {ticket = op.ticket, early = op.urgent, booked = {}, least_lead = LEAD}
  who.since = op.urgent and now - URGENT or now
  if r then who.early, who.booked, who.since = who.early or not r.late, r.booked or {}, r.since end
  return who
end

local function acquire(op)
  local r = read(op.ticket)
  if r and r.state == 'held' and r.by == op.by then return Granted{delay = math.ceil(math.max(r.at - now, 0))} end
  if r and r.state == 'held' then release(op.ticket, r, 1, r.tokens, false) end  -- who held it died
  if r and r.state == 'waiting' and r.at > now + EARLY then return Waiting{delay = math.ceil(r.at - now), reason = r.why} end
  local who, list = known(op, r), gates(op.levels, op.tokens, op.sort)
  for _, gate in ipairs(list) do
    if gate.n > gate.limit then return TooLarge{name = gate.key, limit = gate.limit} end
  end
  local parked_until = park_of(op.park)
  if parked_until > now then return wait_parked(op, who, parked_until) end
  local at, start, last = starts(list, who)
  local near, stay = nearness(list, at, last, who)
  if start <= now + near then
    if r and r.why then tally_wait(r) end
    return grant(op, who, list, start)
  end
  if next(who.booked) and start <= now + stay then return linger(op, r, start) end
  who.moves = true  -- its place was spent by others: it gets one behind all who have one
  return wait(op, who, list, starts(list, who))
end

local function observe(r, seen)
  for kind, word in pairs(seen) do
    local best
    for _, gate in ipairs(gates(r.levels, r.tokens, r.sort)) do
      if gate.kind == kind then best = gate end  -- the last is the most special one
    end
    if best and r.taken[best.key] then best:observe(now, r.at, r.taken[best.key], word[1], word[2]) end
  end
end

local function settle(op)
  local r = read(op.ticket)
  if not r then return Done{} end
  if r.state == 'held' and r.by == op.by then
    release(op.ticket, r, op.tokens and 1 or 0, op.tokens or 0, op.tokens ~= nil)
    if op.seen then observe(r, op.seen) end
  elseif r.state == 'waiting' and not op.tokens then
    unbook(op.ticket, r)
    forget(op.ticket)
  end
  return Done{}
end

local function renew(op)
  for _, ticket in ipairs(op.tickets) do
    local r = read(ticket)
    if r and r.state == 'held' and r.by == op.by then
      redis.call('ZADD', DEADLINES, now + LEASE, ticket)
      for _, spec in ipairs(r.levels) do
        if spec.concurrency then redis.call('ZADD', HELD .. spec.name, 'XX', now + LEASE, ticket) end
      end
    end
  end
  return Done{}
end
