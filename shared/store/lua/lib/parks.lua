-- Parks: a provider's model that takes nothing for a while, because it said so (`busy`) or because nobody answers
-- (`down`). When a park is over one request probes; its answer ends the park, or the next refusal lengthens it. A slow
-- answer is not waited for: who is busy refuses at once, who is down takes its time, and at each such step twice as many
-- may try. This is a circuit breaker (Nygard, "Release It!", 2007), half open while it probes.

local parks = {}

-- "delay name", of an outage with a line more that says so: who does not know of those takes it for another name.
local function tell(delay, scope, kind)
  redis.call('PUBLISH', PARKED, whole(delay) .. ' ' .. scope .. (kind == BUSY and '' or '\n' .. kind))
end

local known  -- what this call has read
each_call(function() known = {} end)

local function read_park(scope)
  if known[scope] == nil then
    local f = redis.call('HMGET', LIMIT_PARK .. scope, 'until', 'kind', 'times')
    known[scope] = f[1] and {ends = tonumber(f[1]) or 0, kind = f[2], times = tonumber(f[3]) or 0} or false
  end
  return known[scope]
end

-- How long it is closed, in us, and of which kind the park is; 0 if it is not.
function parks.left(scope)
  local park = read_park(scope)
  if not park then return 0 end
  return math.max(0, park.ends - limits.now()), park.kind
end

-- When a request may start for all that a park says: nil if there is none, else now, unless it is closed or enough
-- are probing.
function parks.start(scope)
  local park = read_park(scope)
  if not park then return nil end
  local now = limits.now()
  if park.ends > now then return park.ends end
  local step = park.kind == DOWN and PROBE_STEP_DOWN_US or PROBE_STEP_BUSY_US
  local allowed = 2 ^ math.min(math.floor((now - park.ends) / step), 16)
  if redis.call('SCARD', LIMIT_PROBES .. scope) < allowed then return now end
  return now + NEAR_US
end

-- A request starts: whether it is a probe.
function parks.note_probe(scope, ticket)
  if not read_park(scope) then return nil end
  redis.call('SADD', LIMIT_PROBES .. scope, ticket)
  return true
end

function parks.end_probe(scope, ticket) redis.call('SREM', LIMIT_PROBES .. scope, ticket) end

-- Who is asked no more, as nobody names that model any more, is forgotten.
local function forget_old(now)
  local old = redis.call('ZRANGEBYSCORE', LIMIT_PARKS, '-inf', now - PARK_KEPT_US, 'LIMIT', 0, 10)
  for _, scope in ipairs(old) do parks.lift(scope) end
end

-- End a park. Returns whether there was one.
function parks.lift(scope)
  known[scope] = false
  redis.call('ZREM', LIMIT_PARKS, scope)
  redis.call('DEL', LIMIT_PROBES .. scope, LIMIT_FAILING .. scope)
  local there = redis.call('DEL', LIMIT_PARK .. scope) == 1
  if there then tell(0, scope, FREE) end
  return there
end

local MOST_TIMES = 30

-- Close a scope for `delay` us; none: longer each time. Answers how long it is closed.
function parks.close(scope, kind, delay)
  local park, now = read_park(scope) or {ends = 0, times = 0}, limits.now()
  if not delay then
    -- Others who were on their way tell the same story: once counted is enough.
    if park.ends > now then return park.ends - now end
    park.times = math.min(park.times + 1, 30)
    local first, most = FIRST_PARK_US, kind == DOWN and LONGEST_DOWN_US or LONGEST_PARK_US
    delay = math.min(first * 2 ^ (park.times - 1), most)
  end
  if now + delay > park.ends then
    park.ends, park.kind = now + delay, kind
    redis.call('HSET', LIMIT_PARK .. scope, 'until', whole(park.ends), 'kind', kind, 'times', park.times)
    redis.call('ZADD', LIMIT_PARKS, park.ends, scope)
    tell(delay, scope, kind)
    forget_old(now)
    known[scope] = park
  end
  return park.ends - now
end

-- Nobody answered a job's request. Which one is at fault, nobody can say of one job; of several in a row, of one that
-- probed, or where the request was not even received, it is the provider. Answers as `close`, 0 if it is open. A model
-- that is busy answers: what fails meanwhile was on its way, and is a failure like any other.
function parks.note_failure(scope, job, refused)
  local key, park = LIMIT_FAILING .. scope, read_park(scope)
  local is_tried = park and (park.kind == DOWN or park.ends <= limits.now())
  redis.call('SADD', key, job)
  redis.call('PEXPIRE', key, FAILING_MS)
  if not refused and not is_tried and redis.call('SCARD', key) < FAILURES_IN_A_ROW then
    tell(0, scope, FAILED_ONCE)
    return 0
  end
  return parks.close(scope, DOWN)
end

-- Somebody answered: what is open already is forgotten.
function parks.note_answer(scope)
  local park = read_park(scope)
  if not park then
    redis.call('DEL', LIMIT_FAILING .. scope)
  elseif park.ends <= limits.now() then
    parks.lift(scope)
  end
end
