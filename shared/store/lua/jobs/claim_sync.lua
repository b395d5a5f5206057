-- Claim the next job of the forking pool; `origins` are queues of plain RQ that this worker serves as well. `claim` names
-- this call.
local now, unknown, serves, has_more, others_wait = now_ms(), {}, {}, false, false
local looks, turns = MOVED_AT_ONCE, MOVED_AT_ONCE  -- that are left: at RQ's lists, at heads of lanes
undo_unanswered_claim(worker, claim, now)
if is_paused(SYNC) then return Claimed{leases = {}, unknown = {}} end

-- RQ lets an id be enqueued again when its job has ended.
local function is_anew(id, status)
  if UNFINISHED[status] or redis.call('HGET', job_key(id), 'native') ~= 'rq' then return false end
  local shown = peek('HGET', RQ_JOB .. id, 'status')
  return shown == RQ_STATUS[QUEUED] or shown == RQ_STATUS[SCHEDULED]
end

-- Out of the way of the others: the clock puts it back, unless it is seen to before.
local function set_aside(id, name) redis.call('ZADD', ADOPTING, now + LEASE_MS, name .. ' ' .. id) end

-- A job of ours in a list of RQ's: an older version of this one enqueued it so.
local function take_in(job)
  if rq.holds(job) then return end
  if job.status == SCHEDULED then
    requeue(job, nil, now, now, job.front)
  else
    rq.enqueue(job, math.min(now, tonumber(job.ready_at or now)), now)
  end
end

-- RQ's lists hold jobs of its own clients. A few at a time are given to the worker to adopt, when none is left in the
-- lane that this was done with: so one waits there when its turn comes, and the others stay with RQ.
local function look_at_list(name)
  local list, room = RQ_QUEUE .. name, nil
  serves[name] = true
  while true do
    local id = redis.call('LINDEX', list, 0)
    if not id then return end
    local job = load_job(id)
    local is_foreign = job and is_anew(id, job.status) or not job and why_not_loaded(id) == NOT_IN_BOOK
    if is_foreign then
      local line = lanes.jobs_of(NORMAL, lanes.tenant({origin = name}), SYNC_LANE)
      room = room or redis.call('EXISTS', line) == 0 and ADOPTED_AT_ONCE or 0
      if room == 0 then return end
      room = room - 1
    end
    has_more = looks == 0
    if has_more then return end
    looks = looks - 1
    redis.call('LPOP', list)
    if is_foreign then unknown[#unknown + 1] = Unknown{raw = id, queue = name} end
    if is_foreign or not job then set_aside(id, name) end
    if job and WAITING[job.status] then take_in(job) end
  end
end

for _, priority in ipairs(PRIORITIES) do look_at_list(RQ_NAMES[priority]) end
for _, origin in ipairs(origins) do
  redis.call('SADD', ORIGINS, origin)
  look_at_list(origin)
end

local function passes(tenant)
  local origin = string.match(tenant, '^' .. PLAIN_RQ .. '(.*)$')
  return origin and not serves[origin]
end

local function take(lane)
  local id, tenant, tag, key, place = task_lanes.head(lane)
  if not id then return nil end
  local must_leave
  local leased, why = claim_job(id, worker, claim, now, lease, ttl, function(job)
    must_leave = task_lanes.must_leave(job)
    if must_leave then return nil end
    job.charged = durations.expected(job)
    return now
  end)
  if leased then
    task_lanes.serve(lane, place, tenant, tag, leased.charged, leased.priority)
    return leased
  end
  if must_leave then return task_lanes.set_apart(lane, id, key, now) end
  redis.call('ZREM', key, id)
  for _, name in ipairs(rq_queues()) do redis.call('ZREM', WAITING_IN .. name, id) end
  if why == NEWER then set_aside(id, RQ_NAMES[NORMAL]) end
end

-- The lease of a lane's next job, or nil and whether nobody waits there for this worker.
local function take_from(name, is_idle)
  local time = concurrency.time_of(name)
  local lane, leased = {name = name, queue = SYNC, is_idle = is_idle, passes = passes, time = time}, nil
  while turns > 0 and not (leased or lane.is_over or lane.goes_on) do
    turns = turns - 1
    leased = take(lane)
  end
  lanes.keep_time(lane)
  others_wait = others_wait or lane.is_over and not (lane.is_empty or lane.is_aside)
  return leased, lane.is_over
end

local leased, is_over = take_from(SYNC_LANE)
if not leased and is_over then leased, is_over = take_from(IDLE_LANE .. SYNC_LANE, true) end
if leased then
  note_claim(worker, claim, leased.token, {leased.id})
elseif not is_over or has_more then
  wake(SYNC)  -- there is more to look at
elseif not others_wait then
  redis.call('DEL', WAKEUP .. SYNC)
end
return Claimed{leases = {leased and Lease(leased)}, unknown = unknown}
