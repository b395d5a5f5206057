-- Why a due job waits, and when it would start: what a claim would find now, if nobody else came. It takes nothing.

local estimates = {}

local function in_ms(us, now) return math.ceil(now + (us - limits.now()) / 1000) end

-- The models as the workers know them; false: no worker has said so lately.
local function read_models()
  local models = decode(peek('GET', LIMIT_MODELS) or '')
  return models and models.known and models.levels and models or false
end

-- What its lane waits for, if that is a park: fills the answer.
local function look_at_parks(answer, name, route, now)
  local model = admittance.models.known[name]
  local scope = route and route.scope or model.scopes[1].scope
  local start = parks.start(scope)
  if not start or start <= limits.now() then return false end
  local left, kind = parks.left(scope)
  answer.because, answer.name, answer.kind = 'limiter', scope, left > 0 and kind or PROBING
  answer.ends = left > 0 and in_ms(limits.now() + left, now) or nil
  answer.is_down = kind == DOWN
  return true
end

-- When a limit lets it start, in us, if `ahead` others start before it, of the size that they had lately, each as soon as
-- it may.
local function foresee(gate, us, ahead)
  if gate.kind == 'concurrency' then return us + (gate:start(us, ahead) - us) / SLOT_HASTE end
  return gate:start(us, ahead * gate:usual_size(), us)
end

-- The same if it is a limit. Returns when the limits let it start with `ahead` others before it, in us; nil where there
-- are none.
local function look_at_limits(answer, job, route, ahead, now)
  local _, tokens, sort = lanes.of(job)
  local list = limits.gates({levels = route.levels, tokens = tokens, sort = sort, is_idle = job.priority == IDLE})
  if not list[1] then return nil end
  local us, latest = limits.now(), nil
  for _, gate in ipairs(list) do
    if gate.n <= gate.limit then
      latest = math.max(latest or us, foresee(gate, us, ahead))
      local start = gate:start(us, 0)
      local queue = redis.call('ZCARD', LIMIT_LINE .. gate.level.name)
      if not answer.because and (start > us or queue > 0) then
        answer.because, answer.name = 'limiter', gate.key
        answer.kind = start <= us and IN_LINE or gate.is_idle and SPARE or FULL
        answer.ends = start > us and in_ms(start, now) or nil
      end
    end
  end
  return latest
end

local function look_at_models(answer, job, ahead, now)
  local _, _, _, name = lanes.of(job)
  local route = admittance.route(name)
  local is_parked = look_at_parks(answer, name, route, now)
  local start = look_at_limits(answer, job, route or admittance.models.known[name].scopes[1], ahead, now)
  if not is_parked then return start end
  if answer.is_down then return nil end
  return (start or limits.now()) + (answer.ends and (answer.ends - now) * 1000 or 0)
end

-- Of the lane's models: fills the answer, but for a job that nothing limits. Returns when it may start, in us; nil: nobody
-- can say, also where another program has spoilt what is known of them.
function estimates.look_at_lane(answer, job, ahead, now)
  admittance.models = once('models', read_models)
  if not admittance.models then return nil end
  local is_readable, start = pcall(look_at_models, answer, job, ahead, now)
  return is_readable and start or nil
end

local function has_worker(queue, now) return redis.call('ZCOUNT', WORKERS .. queue, now - WORKER_KEPT_MS, '+inf') > 0 end

-- When the workers come to it, by how fast the queue drained in the last minute.
local function drained(queue, ahead, now)
  local rate = once('drain rate of ' .. queue, drain_rate, queue, now)
  return rate > 0 and math.ceil(now + ahead / rate) or nil
end

-- The same of a tenant or a task that has as many jobs running as may: of all that end it has the part that it has of
-- those.
local function drained_of(limit, job, ahead, now)
  local running = tonumber(redis.call('HGET', COUNTS .. job.queue, RUNNING) or '') or 0
  local rate = drain_rate(job.queue, now) * math.min(1, limit.most / math.max(running, 1))
  return rate > 0 and math.ceil(now + (ahead + 1) / rate) or nil
end

-- Fill the answer for a job that is due, with so many ahead of it; nil: nobody knows how many. `limit`: its owner or its
-- task has as many running as may.
function estimates.look(answer, job, ahead, now, limit)
  answer.ahead = ahead
  if once('paused ' .. job.queue, is_paused, job.queue) then
    answer.because = 'paused'
  elseif not once('worker of ' .. job.queue, has_worker, job.queue, now) then
    answer.because = 'no_worker'
  elseif limit then
    answer.because = limit.because
    answer.estimated_start = ahead and drained_of(limit, job, ahead, now) or nil
  elseif job.queue == SYNC or not ahead then
    answer.because = 'fair_order'
    answer.estimated_start = ahead and drained(job.queue, ahead, now) or nil
  else
    local start = estimates.look_at_lane(answer, job, ahead, now)
    local by_limits, by_workers = start and in_ms(start, now), drained(job.queue, ahead, now)
    if not answer.because and by_workers then by_limits = math.max(by_limits or 0, by_workers) end
    answer.because = answer.because or 'fair_order'
    answer.estimated_start = by_limits or (not answer.is_down and by_workers) or nil
  end
end

local FEW_TENANTS = 10  -- a submission must be quick
local LATEST_MS = 1e14  -- what is later, or no number, is no date

-- When a job would start that has just come to a pool in which so many wait, in ms; nil: nobody can say. It has its place
-- already: whatever stands in Redis, this does not fail.
function estimates.start(job, waiting, now)
  local answer, ahead, is_aside = {}, 0, false
  pcall(function()
    if waiting > 0 then ahead, is_aside = places.in_lane(job, FEW_TENANTS) end
    estimates.look(answer, job, ahead, now, is_aside and concurrency.full_limit(job))
  end)
  local start = answer.estimated_start
  return start and start < LATEST_MS and start or nil
end
