-- What a request holds from its start to its end, under its ticket `job:token:number`: it belongs to that run of its
-- job, and is held as long as the run holds its lease.

local function read_reservation(ticket)
  local r = decode(redis.call('HGET', LIMIT_RESERVED, ticket))
  if not r then return nil end  -- or somebody has spoilt it
  r.at = tonumber(r.at)  -- a text in JSON, whose numbers have 14 digits here
  return r
end

-- Let a request start at `start`: charge its limits, and take a slot of each that has some. Returns whether it holds
-- anything that is to be settled.
function limits.reserve(ticket, request, start)
  local now, taken = limits.now(), {}
  local list = limits.gates(request)
  for _, gate in ipairs(list) do taken[gate.key] = gate:take(now, ticket) end
  local probe = parks.note_probe(request.scope, ticket)
  if not list[1] and not probe then return false end
  redis.call('HSET', LIMIT_RESERVED, ticket, cjson.encode({levels = request.levels, tokens = request.tokens,
    sort = request.sort, scope = request.scope, at = whole(start), taken = taken, probe = probe}))
  redis.call('ZADD', LIMIT_CHECKS, now + CHECK_US, ticket)
  return true
end

-- What was held is over. `used`: requests and tokens that the provider has counted; none: nothing was sent, or
-- nobody knows. `known`: that is what the provider said.
local function release(ticket, r, requests, tokens, known)
  local now = limits.now()
  for _, gate in ipairs(limits.gates(r)) do
    local taken = r.taken[gate.key]
    if gate.kind == 'concurrency' then
      gate:release(now, ticket, known and r.at)
    elseif taken then
      gate:end_uncharged(taken, r.at)
      if requests then
        gate:settle(taken, gate.kind == 'tpm' and tokens or requests)
        if known and gate.kind == 'tpm' then gate:learn(tokens) end
        if requests == 0 then gate:send(now, -gate.n) end
      end
    end
    limits.open(gate.level)
  end
  redis.call('HDEL', LIMIT_RESERVED, ticket)
  redis.call('ZREM', LIMIT_CHECKS, ticket)
  if r.probe then parks.end_probe(r.scope, ticket) end
end

-- A request has ended. `tokens`: what it used, nil if nothing was sent. `seen`: what the provider says is left. Returns
-- the reservation, nil if there is none (any more).
function limits.settle(ticket, tokens, seen)
  local r = read_reservation(ticket)
  if not r then return nil end
  release(ticket, r, tokens and 1 or 0, tokens or 0, tokens ~= nil)
  for kind, word in pairs(seen or {}) do
    local best
    for _, gate in ipairs(limits.gates(r)) do
      if gate.kind == kind then best = gate end  -- the last is the most special one
    end
    if best and r.taken[best.key] then best:observe(limits.now(), r.at, r.taken[best.key], word[1], word[2]) end
  end
  return r
end

-- Whether the run that a ticket names still holds its lease: a blocked process keeps its reservations as it keeps that.
local function is_alive(ticket)
  local id, token = string.match(ticket, '^(.*):([^:]*):%d+$')
  local f = redis.pcall('HMGET', job_key(id or ''), 'status', 'token')
  return f[1] == RUNNING and f[2] == token
end

local LOOKED_AT, RELEASED = 100, 10  -- of tickets, in one call

-- The slots and probes of the dead come back. What they were charged stays: the provider may have seen it.
local reaped
each_call(function() reaped = false end)
function limits.reap()
  if reaped then return end
  reaped = true
  local now = limits.now()
  local released = 0
  for _, ticket in ipairs(redis.call('ZRANGEBYSCORE', LIMIT_CHECKS, '-inf', now, 'LIMIT', 0, LOOKED_AT)) do
    if released == RELEASED then break end
    local r = read_reservation(ticket)
    if not r then
      redis.call('ZREM', LIMIT_CHECKS, ticket)
      redis.call('HDEL', LIMIT_RESERVED, ticket)
    elseif is_alive(ticket) then
      redis.call('ZADD', LIMIT_CHECKS, now + CHECK_US, ticket)
    else
      released = released + 1
      release(ticket, r)
    end
  end
end
