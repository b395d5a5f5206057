-- Prepended to limiter.lua: what one limit says about one request. Times are microseconds of Redis's
-- clock, made one that never goes back (limiter.lua).
--
-- A rate limit is GCRA, the generic cell rate algorithm (ITU-T I.371; Brandur Leach, "Rate limiting, cells, and
-- GCRA"): `tat`, the theoretical arrival time, moves on by cost * interval for each request that starts. A request
-- may start once tat is at most `burst` intervals ahead, less its own cost; one that costs more than the whole burst
-- starts once tat is reached, so it waits no longer than a small one and those behind it wait for what it took.
-- So what starts in any stretch of W seconds costs at most W / interval + max(burst, the largest request).
--
-- Who must wait is booked in a cursor, a tat of the future: `v` for those who come, `u` for those whose booked time
-- has come, and urgent ones. A later request is behind what is booked, however small it is. Whether somebody starts
-- is decided by tat alone: late and early arrivals can't add up to more than the limit.

local levels, order = {}, {}

local function number(value) return string.format('%.0f', value) end

local function level(spec)
  local l = levels[spec.name]
  if not l then
    l = {name = spec.name}
    local flat = redis.call('HGETALL', LIMIT .. spec.name)
    for i = 1, #flat, 2 do l[flat[i]] = tonumber(flat[i + 1]) end
    levels[spec.name], order[#order + 1] = l, l
  end
  return l
end

local function save_levels()
  for _, l in ipairs(order) do
    local flat = {}
    for field, value in pairs(l) do
      if field ~= 'name' then
        flat[#flat + 1] = field
        flat[#flat + 1] = string.format('%.3f', value)
      end
    end
    if #flat > 0 then
      redis.call('HSET', LIMIT .. l.name, unpack(flat))
      redis.call('PEXPIRE', LIMIT .. l.name, TTL_MS)
    end
  end
end

-- Requests or tokens per minute. `kind` is the first part of the level's fields: rpm_tat, tpm_v, …
local Rate = {}
Rate.__index = Rate

function Rate:get(field, default) return self.level[self.kind .. field] or default or 0 end
function Rate:set(field, value) self.level[self.kind .. field] = value end
function Rate:span(n) return n * MINUTE / self.limit end

-- What a request is charged when it starts: its tokens times the share that reservations of its kind really used so
-- far. Charged in full, a generous max_output_tokens would leave most of the limit unused until it is settled.
function Rate:charge()
  local reserved = self:get('_reserved:' .. self.sort)
  local share = reserved > 0 and self:get('_used:' .. self.sort) / reserved or 1
  return self.n * math.min(math.max(share, LEAST_SHARE), MOST_SHARE)
end

-- How long before its start somebody who waits is asked to come back: others must be there when it does not come. Where
-- much is let through that is soon; each of them holds a place in its worker.
function Rate:lead(who) return math.min(math.max(LEAD_PLACES * self:span(self:charge()), who.least_lead), LONGEST_LEAD) end

-- Nothing is known yet of what is used: who waits looks again soon.
function Rate:cold() return self.kind == 'tpm' and self:get('_settled:' .. self.sort) < COLD end

function Rate:start(now, who)
  local booked = who.booked[self.key]
  local here = booked and booked[1] == '_u' and not who.moves
  local cursor = here and 0 or self:get(who.early and '_u' or '_v')
  local charge = self:charge()
  local at = math.max(self:get('_tat'), cursor) - self:span(self.burst - math.min(charge, self.burst))
  local theirs = self:get('_theirs_limit')
  if theirs > 0 then  -- the provider's own bucket must hold the whole request
    at = math.max(at, self:get('_theirs') - (theirs - math.min(self.n, theirs)) * MINUTE / theirs)
  end
  return math.max(at, now)
end

function Rate:take(now, who)
  local span, tat, v = self:span(self:charge()), math.max(self:get('_tat'), now), self:get('_v')
  local booked = who.booked[self.key]
  -- Somebody who has no place in `v` goes before those who have.
  if v > tat and not (booked and booked[3]) then v = v + span end
  self:set('_tat', tat + span)
  self:set('_v', math.max(v, tat + span))
  self:send(now, self.n)
  return {number(self:charge() * 1000), number(self:get('_sent')), self:cold() and number(tat + span + 1) or '0'}
end

-- Returns the place: its cursor, its span, and whether it counts in `v`. Who comes to its place and finds tat ahead of
-- it gets a new one: what was to start there was spent by others. It counts once, however often it is moved: counted
-- again, the places of those behind would lie twice as far apart as the limit asks for.
function Rate:book(now, who)
  local cursor, span = who.early and '_u' or '_v', self:span(self:charge())
  -- Sizes are guesses: a few who come a little early keep gaps from staying unused.
  if self.kind == 'tpm' and not who.early then span = span * HASTE end
  self:set(cursor, math.max(self:get(cursor), self:get('_tat'), now) + span)
  local booked = who.booked[self.key]
  return {cursor, number(span), cursor == '_v' or (booked and booked[3]) or false}
end

function Rate:leave() end  -- a place whose time has come is gone by itself

function Rate:unbook(booked)
  local cursor, span, counted = booked[1], tonumber(booked[2]), booked[3]
  self:set(cursor, self:get(cursor) - span)
  if counted and cursor ~= '_v' then self:set('_v', self:get('_v') - span) end
end

-- Charge what was used instead of what `taken` says. What lies before now is void: max(tat, now) is what counts.
-- The first ones are charged far too much: once others have started behind one of them, what it gives back is lost, or
-- a minute would get more than it holds.
function Rate:settle(taken, used)
  local span, cold = self:span(tonumber(taken[1]) / 1000 - used), tonumber(taken[3])
  if cold > 0 and self:get('_tat') > cold then span = math.min(span, 0) end
  self:set('_tat', self:get('_tat') - span)
  self:set('_v', math.max(self:get('_v') - span, self:get('_tat')))
end

function Rate:learn(used)
  local settled = math.min(self:get('_settled:' .. self.sort) + 1, SAMPLES)
  for field, value in pairs({['_used:'] = used, ['_reserved:'] = self.n}) do
    local mean = self:get(field .. self.sort)
    self:set(field .. self.sort, mean + (value - mean) / settled)
  end
  self:set('_settled:' .. self.sort, settled)
end

-- The provider's own bucket, once its headers have told of it. All that is sent is counted, so that what a header
-- says, which is as old as its request, can be brought up to date.
function Rate:send(now, n)
  self:set('_sent', self:get('_sent') + n)
  local theirs = self:get('_theirs_limit')
  if theirs > 0 then self:set('_theirs', math.max(self:get('_theirs'), now) + n * MINUTE / theirs) end
end

function Rate:observe(now, at, taken, limit, remaining)
  limit = limit > 0 and limit or self.limit
  if at < self:get('_theirs_at') then return end  -- a later request has answered before
  local since = self:get('_sent') - tonumber(taken[2])
  self:set('_theirs_at', at)
  self:set('_theirs_limit', limit)
  self:set('_theirs', at + (limit - math.min(remaining, limit) + since) * MINUTE / limit)
end

-- Requests at once: slots with leases, and a queue of who waits for one, by arrival. Nobody is woken: who waits is
-- asked to come when its turn is likely, a little early, and comes again if it was too early.
local Slots = {}
Slots.__index = Slots

function Slots:free(now)
  redis.call('ZREMRANGEBYSCORE', HELD .. self.level.name, '-inf', now)
  return self.limit - redis.call('ZCARD', HELD .. self.level.name)
end

function Slots:start(now, who)
  local queue = QUEUE .. self.level.name
  local ahead = redis.call('ZRANK', queue, who.ticket) or redis.call('ZCOUNT', queue, '-inf', '(' .. number(who.since))
  local missing = ahead + 1 - self:free(now)
  if missing <= 0 then return now end
  return now + math.max(missing * SLOT_HASTE * (self.level.duration or SECOND) / self.limit, SHORTEST)
end

function Slots:take(now, who)
  self:leave(who.ticket)
  redis.call('ZADD', HELD .. self.level.name, now + LEASE, who.ticket)
  redis.call('PEXPIRE', HELD .. self.level.name, TTL_MS)
  return {}
end

function Slots:book(_, who)
  redis.call('ZADD', QUEUE .. self.level.name, 'NX', number(who.since), who.ticket)
  redis.call('PEXPIRE', QUEUE .. self.level.name, TTL_MS)
  return {'slot', 0}
end

function Slots:lead() return 0 end  -- a free slot can't be foreseen
function Slots:cold() return false end
function Slots:leave(ticket) redis.call('ZREM', QUEUE .. self.level.name, ticket) end
function Slots:unbook(_, ticket) self:leave(ticket) end

function Slots:release(now, ticket, since)
  redis.call('ZREM', HELD .. self.level.name, ticket)
  if since then
    local mean = self.level.duration or (now - since)
    self.level.duration = mean + LEARN * (now - since - mean)
  end
end

local function rate(l, kind, limit, n, sort)
  local burst = math.max(1, math.floor(limit * DEPTH))
  local self = {level = l, kind = kind, key = l.name .. ' ' .. kind, limit = limit, n = n, burst = burst, sort = sort}
  return setmetatable(self, Rate)
end

-- All limits that a request must pass, as `levels` names them: {name, rpm?, tpm?, concurrency?}.
local function gates(specs, tokens, sort)
  local list = {}
  for _, spec in ipairs(specs) do
    local l = level(spec)
    if spec.rpm then list[#list + 1] = rate(l, 'rpm', spec.rpm, 1, '') end
    if spec.tpm then list[#list + 1] = rate(l, 'tpm', spec.tpm, tokens, sort) end
    if spec.concurrency then
      local slots = {level = l, kind = 'concurrency', key = l.name .. ' concurrency', limit = spec.concurrency, n = 1}
      list[#list + 1] = setmetatable(slots, Slots)
    end
  end
  return list
end
