-- Why a job waits, how many are served before it, and when it would start. It changes nothing but the limits' clock.
local now, job = now_ms(), load_job(id)
if not job then return false end
if not WAITING[job.status] then return Explained{status = job.status} end

local answer = {status = job.status}

local function in_ms(us) return math.ceil(now + (us - limits.now()) / 1000) end

local function is_ahead() return job.ready_at and tonumber(job.ready_at) > now end

-- The models as the workers know them; nil: no worker has said so lately.
local function read_models()
  local models = decode(peek('GET', LIMIT_MODELS) or '')
  return models and models.known and models.levels and models
end

-- What its lane waits for, if that is a park: fills the answer.
local function look_at_parks(name, route)
  local model = admittance.models.known[name]
  local scope = route and route.scope or model.scopes[1].scope
  local start = parks.start(scope)
  if not start or start <= limits.now() then return false end
  local left, kind = parks.left(scope)
  answer.because, answer.name, answer.kind = 'limiter', scope, left > 0 and kind or PROBING
  answer.ends = left > 0 and in_ms(limits.now() + left) or nil
  return true
end

-- When a limit lets it start, in us, if `ahead` others of its size start before it, each as soon as it may. A bucket that
-- was idle is filled by them from now on.
local function foresee(gate, us, ahead)
  if gate.kind == 'concurrency' then return gate:start(us, ahead) end
  local idle = math.max(0, us - gate:get('_tat'))
  return math.max(us, gate:start(-math.huge, ahead) + idle)
end

-- The same if it is a limit. Returns when the limits let it start with `ahead` others of its size before it, in us; nil
-- where there are none.
local function look_at_limits(route, ahead)
  local _, tokens, sort = lanes.of(job)
  local us, latest = limits.now(), nil
  local request = {levels = route.levels, tokens = tokens, sort = sort, is_idle = job.priority == IDLE}
  for _, gate in ipairs(limits.gates(request)) do
    if gate.n <= gate.limit then
      latest = math.max(latest or us, foresee(gate, us, ahead))
      local start = gate:start(us, 0)
      local queue = redis.call('ZCARD', LIMIT_LINE .. gate.level.name)
      if not answer.because and (start > us or queue > 0) then
        answer.because, answer.name = 'limiter', gate.key
        answer.kind = start <= us and IN_LINE or gate.is_idle and SPARE or FULL
        answer.ends = start > us and in_ms(start) or nil
      end
    end
  end
  return latest
end

-- Of the lane's models: fills the answer, but for a job that nothing limits. Returns when it may start, in us.
local function look_at_lane(ahead)
  admittance.models = read_models()
  if not admittance.models then return nil end
  local _, _, _, name = lanes.of(job)
  local route = admittance.route(name)
  local is_parked = look_at_parks(name, route)
  local start = look_at_limits(route or admittance.models.known[name].scopes[1], ahead)
  if not is_parked then return start end
  if answer.kind == DOWN then return nil end
  return (start or limits.now()) + (answer.ends and (answer.ends - now) * 1000 or 0)
end

local function has_worker() return redis.call('ZCOUNT', WORKERS .. job.queue, now - WORKER_KEPT_MS, '+inf') > 0 end

-- When the workers come to it, by how fast the queue drained in the last minute.
local function drained(ahead)
  local rate = drain_rate(job.queue, now)
  return rate > 0 and math.ceil(now + ahead / rate) or nil
end

local function explain_scheduled()
  local f = redis.call('HMGET', job_key(id), 'throttled', 'stopped')
  local was_tried = tonumber(job.attempt) > 0 or job.front or f[1] or f[2]
  answer.because, answer.ends = was_tried and RETRY or SCHEDULED, job.ready_at
  answer.estimated_start = job.ready_at
  if job.front and job.queue == LLM then look_at_lane(0) end  -- a limit or a park may be why it was given back
  if answer.because == 'limiter' then answer.ends = job.ready_at end
end

local function explain_due()
  local suspect = job.queue == LLM and redis.call('ZRANK', SUSPECTS, id)
  local ahead = suspect or (job.queue == LLM and places.in_lane or places.in_rq)(job)
  if not ahead and redis.call('ZSCORE', LATER, id) then ahead = 0 end  -- its model is parked
  answer.ahead = ahead
  if is_paused(job.queue) then
    answer.because = 'paused'
  elseif not has_worker() then
    answer.because = 'no_worker'
  elseif suspect or job.queue == SYNC or not ahead then
    answer.because, answer.kind = 'fair_order', suspect and SUSPECT or nil
    answer.estimated_start = not suspect and ahead and drained(ahead) or nil
  else
    local start = look_at_lane(ahead)
    local by_limits, by_workers = start and in_ms(start), drained(ahead)
    if not answer.because and by_workers then by_limits = math.max(by_limits or 0, by_workers) end
    answer.because = answer.because or 'fair_order'
    answer.estimated_start = by_limits or (answer.kind ~= DOWN and by_workers) or nil
  end
end

if is_ahead() then explain_scheduled() else explain_due() end
return Explained(answer)
