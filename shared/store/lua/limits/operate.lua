-- Does `operations` in their order; answers a list with an answer to each. Each may be repeated when its answer got lost.
--   acquire  ticket, waited (us), tokens, sort, levels, scope  -> Granted, Waiting or TooLarge
--   leave    ticket, levels, scope: it waits no more           -> Done
--   settle   ticket, tokens? (none: nothing was sent), seen?   -> Done
--   answered scope                                             -> Done
--   park     scope, label, delay? (us; none: longer each time) -> Parked
--   failed   scope, job, refused: nobody answered              -> Parked
--   parks                                                      -> Parks
local now = limits.now()

-- A place was found at last, for whose sake it waited so long.
local function tally_wait(op)
  if op.waited <= 0 or not op.why then return end
  local name = op.why == PARKED_REASON and '|park' or string.gsub(string.gsub(op.why, '|', '/'), ' (%w+)$', '|%1')
  tally('limit_waits|' .. name)
  tally('limit_waited|' .. name, math.max(0, math.floor(op.waited / 1000)))
end

local function wait(op, list, starts, start, why)
  local is_parked = why == PARKED_REASON
  local longest = is_parked and math.huge or LONGEST_LOOK_US  -- news tell of the end of a park
  local delay = math.min(math.max(start - NEAR_US / 2 - now, SHORTEST_US), longest)
  local waits = {[op.scope] = is_parked}
  for i, gate in ipairs(list) do waits[gate.level.name] = waits[gate.level.name] or starts[i] > now end
  for name, here in pairs(waits) do
    if here then
      lines.join(name, op.ticket, now - op.waited, is_parked and math.min(delay, PARK_LOOK_US) or 0)
    else
      lines.step_out(name, op.ticket)
    end
  end
  return Waiting{delay = math.ceil(delay), reason = why}
end

local function acquire(op)
  local held = read_reservation(op.ticket)
  if held then return Granted{delay = math.ceil(math.max(held.at - now, 0))} end
  local list, starts = limits.gates(op), {}
  for _, gate in ipairs(list) do
    if gate.n > gate.limit then return TooLarge{name = gate.key, limit = gate.limit} end
  end
  local start, why = parks.start(op.scope) or now, PARKED_REASON
  local open = start <= now
  for i, gate in ipairs(list) do
    starts[i] = gate:start(now, lines.ahead(gate.level.name, op.ticket, now - op.waited))
    if starts[i] > start then start, why = starts[i], gate.key end
  end
  -- A slot must not be held by somebody who sleeps for another limit's sake.
  if not open or start > now + NEAR_US then return wait(op, list, starts, start, why) end
  lines.leave(op, op.ticket)
  limits.reserve(op.ticket, op, start)
  tally_wait(op)
  return Granted{delay = math.ceil(start - now)}
end

local function leave(op)
  lines.leave(op, op.ticket)
  limits.settle(op.ticket)
  return Done{}
end

local function settle(op)
  local r = limits.settle(op.ticket, op.tokens, op.seen)
  if r and r.probe and op.answered then parks.note_answer(r.scope) end
  return Done{}
end

local function answered(op)
  parks.note_answer(op.scope)
  return Done{}
end

local function park(op)
  tally('throttled|' .. op.label)
  return Parked{left = math.ceil(parks.close(op.scope, BUSY, op.delay))}
end

local function failed(op) return Parked{left = math.ceil(parks.note_failure(op.scope, op.job, op.refused))} end

local function list_parks()
  local list = {}
  for _, scope in ipairs(redis.call('ZRANGE', LIMIT_PARKS, 0, 999)) do
    local left, kind = parks.left(scope)
    list[#list + 1] = Park{name = scope, kind = kind or BUSY, left = math.ceil(left)}
  end
  return Parks{parks = list}
end

local handlers = {acquire = acquire, leave = leave, settle = settle, answered = answered, park = park, failed = failed,
  parks = list_parks}
local answers = {}
limits.reap()
for i, op in ipairs(operations) do answers[i] = handlers[op.op](op) end
limits.save()
return answers
