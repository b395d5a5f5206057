-- Appended to limiter.lua: who is parked, and why; at the end all operations are done. A park keeps everybody from a
-- model at its provider: `busy` for as long as it said with a 429, or `down` while nobody there answers.
--   park     park, label, delay? (us; none: longer each time) -> Parked
--   failed   park, job, refused                        -> Parked
--   answered park                                      -> Done
--   parks                                              -> Parks

-- "delay name", of an outage with a line more that says so: who does not know of those takes it for another name.
local function tell(delay, name, kind)
  redis.call('PUBLISH', PARKED, number(delay) .. ' ' .. name .. (kind == BUSY and '' or '\n' .. kind))
end

-- Until now + delay, or longer if it is parked longer already.
local function extend_park(name, delay, kind)
  local key, ends = PARK .. name, park_of(name)
  if now + delay > ends then
    redis.call('HSET', key, 'until', number(now + delay), 'kind', kind)
    if ends <= now then redis.call('HSET', key, 'waiting', 0) end
    redis.call('PEXPIRE', key, math.ceil(delay / 1000) + PARK_MEMORY_MS)
    redis.call('ZADD', PARKS, now + delay, name)
    tell(delay, name, kind)
    ends = now + delay
  end
  return Parked{left = math.ceil(math.max(ends - now, 0))}
end

local function park(op)
  tally('throttled|' .. op.label, 1)
  local key, ends = PARK .. op.park, park_of(op.park)
  local delay = op.delay
  if not delay then
    -- Others who were on their way tell the same story: once counted is enough.
    if ends > now then return Parked{left = math.ceil(ends - now)} end
    local times = redis.call('HINCRBY', key, 'times', 1)
    delay = math.min(FIRST_PARK * 2 ^ (times - 1), LONGEST_PARK)
  end
  return extend_park(op.park, delay, BUSY)
end

-- A request of `job` got no answer. Which one is at fault, nobody can say of one job; of several in a row, or where the
-- request was not even received, it is the provider. It is asked again after each pause, until it answers.
local function failed(op)
  local key, ends = PARK .. op.park, park_of(op.park)
  if ends > now then return Parked{left = math.ceil(ends - now)} end  -- who was on the way tells the same story
  redis.call('SADD', FAILING .. op.park, op.job)
  redis.call('PEXPIRE', FAILING .. op.park, FAILING_MS)
  local pauses = tonumber(redis.call('HGET', key, 'pauses') or 0)
  if not op.refused and pauses == 0 and redis.call('SCARD', FAILING .. op.park) < FAILURES then
    tell(0, op.park, FAILED)
    return Parked{left = 0}
  end
  redis.call('HSET', key, 'pauses', pauses + 1)
  return extend_park(op.park, math.min(FIRST_PAUSE * 2 ^ pauses, LONGEST_PAUSE), DOWN)
end

local function answered(op)
  redis.call('DEL', FAILING .. op.park)
  redis.call('HDEL', PARK .. op.park, 'pauses')
  return Done{}
end

local function parks()
  local list = {}
  redis.call('ZREMRANGEBYSCORE', PARKS, '-inf', now)
  local found = redis.call('ZRANGE', PARKS, 0, -1, 'WITHSCORES')
  for i = 1, #found, 2 do
    local kind = redis.call('HGET', PARK .. found[i], 'kind') or BUSY
    list[#list + 1] = Park{name = found[i], left = math.ceil(tonumber(found[i + 1]) - now), kind = kind}
  end
  return Parks{parks = list}
end

local handlers = {
  acquire = acquire, settle = settle, renew = renew, park = park, failed = failed, answered = answered, parks = parks,
}
local answers = {}
reap()
for i, op in ipairs(operations) do answers[i] = handlers[op.op](op) end
save_levels()
for _, key in ipairs({RESERVED, DEADLINES, PARKS, TIME}) do redis.call('PEXPIRE', key, TTL_MS) end
return answers
