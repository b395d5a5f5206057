-- What one limit says of one request. Times are microseconds of the limits' own clock, which never goes back.
--
-- A rate limit is GCRA, the generic cell rate algorithm (ITU-T I.371; Brandur Leach, "Rate limiting, cells, and
-- GCRA"): `tat`, the theoretical arrival time, moves on by cost * interval for each request that starts. A request
-- may start once tat is at most `slack` ahead, whatever it costs: a big one waits no longer than a small one, and those
-- behind it wait for what it took. So what starts in any stretch of W seconds costs at most W / interval + slack + the
-- largest request. A slack of half a second is what a look that comes late may make up for; the rate is a little lower.
-- Nobody books: a request is charged when it starts, and who can't start waits in the queue, or in a line.
-- Idle requests leave a fifth of each limit to others. `idle` is a second such time, at four fifths of the rate, which
-- all that starts moves on, and which remembers a minute: who uses more than that leaves nothing to idle ones.

local levels, order  -- what this call has read, by name and in order
each_call(function() levels, order = {}, {} end)

local limits = {}

-- Redis's clock may go back. What was free or held would then be so for as long as the jump: by this clock, which stands
-- still instead and runs on from there, nobody notices. All times of limits are of it.
local clock
each_call(function() clock = nil end)
function limits.now()
  if clock then return clock end
  local t = redis.call('TIME')
  local time = t[1] * 1000000 + t[2]
  local last = redis.call('HMGET', LIMIT_TIME, 'seen', 'behind')
  clock = math.max(time + (tonumber(last[2]) or 0), tonumber(last[1]) or 0)
  redis.call('HSET', LIMIT_TIME, 'seen', whole(clock), 'behind', whole(clock - time))
  return clock
end

local function level(spec)
  local l = levels[spec.name]
  if not l then
    l = {name = spec.name, values = {}, used = {}}
    local flat = redis.call('HGETALL', LIMIT_LEVEL .. spec.name)
    for i = 1, #flat, 2 do l.values[flat[i]] = tonumber(flat[i + 1]) end
    levels[spec.name], order[#order + 1] = l, l
  end
  return l
end

-- A lane can't start anything for a level's sake: it is looked at again as soon as that has given something back.
function limits.stall(l, lane)
  redis.call('ZADD', LIMIT_STALLED .. l.name, limits.now(), lane)
  redis.call('PEXPIRE', LIMIT_STALLED .. l.name, LINE_KEPT_MS)
end

function limits.open(l)
  if l.is_open then return end
  l.is_open = true
  local stalled = redis.call('ZPOPMIN', LIMIT_STALLED .. l.name, LANES_A_CLAIM)
  if not stalled[1] then return end
  -- In the order in which they were looked at last: nobody's lane is always the first.
  for i = 1, #stalled, 2 do redis.call('ZADD', LANES, 'XX', i / 1000, stalled[i]) end
  wake(LLM)
end

-- Write what has changed: once a call, however many requests it was about.
function limits.save()
  for _, l in ipairs(order) do
    local flat, name = {}, string.gsub(l.name, '|', '/')
    for field in pairs(l.changed or {}) do
      flat[#flat + 1] = field
      flat[#flat + 1] = string.format('%.3f', l.values[field])
    end
    if flat[1] then
      redis.call('HSET', LIMIT_LEVEL .. l.name, unpack(flat))
      redis.call('PEXPIRE', LIMIT_LEVEL .. l.name, LEVEL_KEPT_MS)
    end
    for kind, n in pairs(l.used) do tally('limit_used|' .. name .. '|' .. kind, n) end
    if l.held then redis.call('HSET', METRICS, 'limit_held|' .. name .. '|concurrency', redis.call('ZCARD', LIMIT_HELD .. l.name)) end
  end
end

-- Requests or tokens per minute. `kind` is the first part of the level's fields: rpm_tat, tpm_tat, …
local Rate = {}
Rate.__index = Rate

function Rate:get(field) return self.level.values[self.kind .. field] or 0 end

function Rate:set(field, value)
  self.level.values[self.kind .. field] = value
  self.level.changed = self.level.changed or {}
  self.level.changed[self.kind .. field] = true
end

function Rate:span(n) return n * MINUTE_US / (self.limit * STEADY) end

-- What a request is charged when it starts: its tokens times the share that reservations of its kind really used so
-- far. Charged in full, a generous max_output_tokens would leave most of the limit unused until it is settled.
function Rate:charge()
  local reserved = self:get('_reserved:' .. self.sort)
  local share = reserved > 0 and self:get('_used:' .. self.sort) / reserved or 1
  if self:cold() then share = math.min(share, 1) end  -- few have told
  return math.min(self.n * math.min(math.max(share, LEAST_SHARE), MOST_SHARE), self.limit)
end

function Rate:note_size()
  local mean = self:get('_mean')
  self:set('_mean', mean > 0 and mean + LEARN * (self.n - mean) or self.n)
end

-- What those that started lately reserved, as a multiple of what this one does: for who estimates a wait.
function Rate:usual_size()
  local mean = self:get('_mean')
  return mean > 0 and self.n > 0 and mean / self.n or 1
end

-- Nothing is known yet of what is used.
function Rate:cold() return self.kind == 'tpm' and self:get('_settled:' .. self.sort) < COLD end

-- What is on its way may use more than it was charged, each request up to all that it has reserved. Shares that were
-- learned of others must not be trusted without bound, so the sum of that is bounded: a minute gets
-- MOST_UNCHARGED + 1 limits at worst, and settlements make up for it afterwards. It can't be foreseen when some of it
-- is settled. Where nothing has started for a minute that one is over, and a new sum begins.
function Rate:uncharged(charge) return math.max(0, self.n - charge) end

function Rate:fits(charge, ahead)
  local more = self:uncharged(charge) * (ahead + 1)
  if more == 0 or self:get('_uncharged') + more <= MOST_UNCHARGED * self.limit then return true end
  return limits.now() - self:get('_uncharged_at') > MINUTE_US
end

function Rate:take_uncharged(now, charge)
  local more = self:uncharged(charge)
  if more == 0 then return end
  if now - self:get('_uncharged_at') > MINUTE_US then
    self:set('_uncharged', 0)
    self:set('_uncharged_since', now)
  end
  self:set('_uncharged', self:get('_uncharged') + more)
  self:set('_uncharged_at', now)
end

-- It is settled, or its run is dead.
function Rate:end_uncharged(taken, at)
  local since = self:get('_uncharged_since')
  if since == 0 or at < since then return end
  self:set('_uncharged', math.max(0, self:get('_uncharged') - self:uncharged(tonumber(taken[1]) / 1000)))
end

-- When it may start with `ahead` others of its size before it; they fill what was idle from `from` on, if that is said.
function Rate:start(now, ahead, from)
  local charge = self:charge()
  local function full(field) return math.max(self:get(field), from or 0) end
  local at = full('_tat') + self:span(ahead * charge - self.slack)
  if self.is_idle then at = math.max(at, full('_idle') + self:span(ahead * charge / IDLE_SHARE - self.slack)) end
  if not self:fits(charge, ahead) then at = math.max(at, limits.now() + LONGEST_LOOK_US) end
  local theirs = self:theirs()
  if theirs > 0 then  -- the provider's own bucket must hold the whole request
    local most = self.is_idle and IDLE_SHARE * theirs or theirs
    at = math.max(at, full('_theirs') - (most - math.min(self.n * (ahead + 1), most)) * MINUTE_US / theirs)
  end
  return math.max(at, now)
end

-- What started leaves so much less to idle ones.
function Rate:keep_from_idle(now, charge)
  local idle = math.max(self:get('_idle'), now) + self:span(charge) / IDLE_SHARE
  self:set('_idle', math.min(idle, self:get('_tat') + IDLE_MEMORY_US))
end

function Rate:take(now)
  local tat, charge = math.max(self:get('_tat'), now), self:charge()
  if self:get('_limit') ~= self.limit then self:set('_limit', self.limit) end
  self:set('_tat', tat + self:span(charge))
  self:take_uncharged(now, charge)
  self:send(now, self.n)
  if self.kind == 'rpm' then self.level.used.rpm = (self.level.used.rpm or 0) + 1 end
  self:keep_from_idle(now, charge)
  if self.kind == 'tpm' then self:note_size() end
  return {whole(charge * 1000), whole(self:get('_sent')), self:cold() and whole(self:get('_tat') + 1) or '0'}
end

-- Charge what was used instead of what `taken` says. What lies before now is void: max(tat, now) is what counts.
-- The first ones are charged far too much: once others have started behind one of them, what it gives back is lost, or
-- a minute would get more than it holds.
function Rate:settle(taken, used)
  local span, cold = self:span(tonumber(taken[1]) / 1000 - math.min(used, self.limit)), tonumber(taken[3])
  if cold > 0 and self:get('_tat') > cold then span = math.min(span, 0) end
  self:set('_tat', self:get('_tat') - span)
  self:set('_idle', self:get('_idle') - span / IDLE_SHARE)
end

function Rate:learn(used)
  local settled = math.min(self:get('_settled:' .. self.sort) + 1, SAMPLES)
  for field, value in pairs({['_used:'] = used, ['_reserved:'] = self.n}) do
    local mean = self:get(field .. self.sort)
    self:set(field .. self.sort, mean + (value - mean) / settled)
  end
  self:set('_settled:' .. self.sort, settled)
  self.level.used.tpm = (self.level.used.tpm or 0) + used
end

-- The limit of the provider's own bucket; 0 unless its headers have told of it lately, as it may not hold any more.
function Rate:theirs()
  if limits.now() - self:get('_theirs_seen') > THEIRS_KEPT_US then return 0 end
  return self:get('_theirs_limit')
end

-- All that is sent is counted, so that what a header says, which is as old as its request, can be brought up to date.
function Rate:send(now, n)
  self:set('_sent', self:get('_sent') + n)
  local theirs = self:theirs()
  if theirs > 0 then self:set('_theirs', math.max(self:get('_theirs'), now) + n * MINUTE_US / theirs) end
end

function Rate:observe(now, at, taken, limit, remaining)
  limit = limit > 0 and limit or self.limit
  if at < self:get('_theirs_at') then return end  -- a later request has answered before
  local since = self:get('_sent') - tonumber(taken[2])
  self:set('_theirs_at', at)
  self:set('_theirs_seen', now)
  self:set('_theirs_limit', limit)
  self:set('_theirs', at + (limit - math.min(remaining, limit) + since) * MINUTE_US / limit)
end

-- Requests at once: slots that are held by tickets.
local Slots = {}
Slots.__index = Slots

function Slots:start(now, ahead)
  local limit = self.is_idle and math.max(1, math.floor(self.limit * IDLE_SHARE)) or self.limit
  local missing = ahead + 1 - (limit - redis.call('ZCARD', LIMIT_HELD .. self.level.name))
  if missing <= 0 then return now end
  -- A free slot can't be foreseen, so none is granted ahead: look again when it is likely.
  return now + NEAR_US + math.max(missing * SLOT_HASTE * (self.level.values.duration or 1000000) / limit, SHORTEST_US)
end

function Slots:take(now, ticket)
  redis.call('ZADD', LIMIT_HELD .. self.level.name, now, ticket)
  self.level.held = true
  return {}
end

function Slots:release(now, ticket, since)
  redis.call('ZREM', LIMIT_HELD .. self.level.name, ticket)
  self.level.held = true
  if not since then return end
  local mean = self.level.values.duration or (now - since)
  self.level.values.duration = mean + LEARN * (now - since - mean)
  self.level.changed = self.level.changed or {}
  self.level.changed.duration = true
end

-- What was charged under another limit counts by the one that holds now.
function Rate:follow_limit(now)
  local was = self:get('_limit')
  if was == 0 or was == self.limit then return end
  for _, field in ipairs({'_tat', '_idle'}) do
    self:set(field, now + math.max(0, self:get(field) - now) * was / self.limit)
  end
  self:set('_limit', self.limit)
end

local function rate(l, kind, limit, n, sort)
  local slack = limit * DEPTH
  local r = setmetatable({level = l, kind = kind, key = l.name .. ' ' .. kind, limit = limit, n = n, slack = slack, sort = sort}, Rate)
  r:follow_limit(limits.now())
  return r
end

local function slots(l, limit)
  return setmetatable({level = l, kind = 'concurrency', key = l.name .. ' concurrency', limit = limit, n = 1}, Slots)
end

-- All limits that a request must pass, as `request.levels` names them: {name, rpm?, tpm?, concurrency?}.
function limits.gates(request)
  local list = {}
  for _, spec in ipairs(request.levels) do
    local l = level(spec)
    if spec.rpm then list[#list + 1] = rate(l, 'rpm', spec.rpm, 1, '') end
    if spec.tpm then list[#list + 1] = rate(l, 'tpm', spec.tpm, request.tokens, request.sort) end
    if spec.concurrency then list[#list + 1] = slots(l, spec.concurrency) end
  end
  for _, gate in ipairs(list) do gate.is_idle = request.is_idle end
  return list
end
