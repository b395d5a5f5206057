-- Claim up to `limit` jobs of the asyncio pool that may start now, `suspects` of them suspects at most; idle ones only in
-- the first `idle` places as long as others wait. `claim` names this call. `models` says what limits the models: see
-- shared/limits/scopes.py.
local now = now_ms()
extend_leases_after_outage(now)
for _, undone in ipairs(undo_unanswered_claim(worker, claim, now)) do
  limits.settle(undone.id .. ':' .. undone.token .. ':0')  -- nothing was sent
end

-- How many jobs this claim may still move before it leases some, and how many it may pass over then, none once the inputs
-- of those that it leases are long enough. The next claim goes on.
local room, looks, bytes = MOVED_AT_ONCE, MOVED_AT_ONCE, 0

-- Jobs of dead workers first: back to the front of their queue, or fenced off.
local expired = redis.call('ZRANGEBYSCORE', LEASES, '-inf', now, 'LIMIT', 0, room)
room = room - #expired
for _, id in ipairs(expired) do
  local job = load_job(id)
  if not job or job.status ~= RUNNING then
    redis.call('ZREM', LEASES, id)
  else
    give_back_expired(job, now, ttl)
  end
end
if is_paused(LLM) then
  limits.save()
  return Claimed{leases = {}, unknown = {}}
end

admittance.models = models
if redis.call('ZCARD', LIMIT_CHECKS) > 0 then limits.reap() end
local leases, ids, unknown, first_token = {}, {}, {}, nil

-- Scheduled ones whose time has come go to their lanes.
local due = redis.call('ZRANGEBYSCORE', LATER, '-inf', now, 'LIMIT', 0, room)
room = room - #due
for _, id in ipairs(due) do
  redis.call('ZREM', LATER, id)
  local job = load_job(id)
  if job and job.status == SCHEDULED then
    requeue(job, nil, now, now, job.front)
  elseif job and job.status == QUEUED and not arq.holds(job) then  -- its model was parked
    arq.enqueue(job, math.min(now, tonumber(job.ready_at or now)), now)
  elseif not job and why_not_loaded(id) == NEWER then
    redis.call('ZADD', LATER, now + LEASE_MS, id)  -- for a worker that knows its status
  end
end

-- Not in the job book: to be adopted, or left to its owner, out of the way of the others.
local function set_aside(id, arq_list)
  redis.call('ZREM', SUSPECTS, id)
  local record, running = peek('GET', ARQ_JOB .. id), peek('GET', ARQ_IN_PROGRESS .. id)
  if not record or running == RAN then
    redis.call('ZREM', arq_list, id)
    redis.call('DEL', ARQ_JOB .. id)
  else
    redis.call('ZADD', arq_list, now + LEASE_MS, id)
    if not running then unknown[#unknown + 1] = Unknown{raw = id, queue = arq_list, record = record} end
  end
end

-- What came through plain arq, or a job of the book whose score another program (arq's own abort()), or an older version
-- of this one, has written.
local function take_back(id, arq_list)
  local job = load_job(id)
  if not job then
    if why_not_loaded(id) == NEWER then redis.call('ZADD', arq_list, now + LEASE_MS, id) else set_aside(id, arq_list) end
    return
  end
  redis.call('ZREM', arq_list, id)
  if not WAITING[job.status] then return end
  if arq.holds(job) then
    arq.show(job)
  else
    arq.enqueue(job, math.max(now, tonumber(job.ready_at or now)), now)
  end
end

for _, arq_list in pairs(ARQ_QUEUES) do
  for _, scores in ipairs({{'-inf', BEFORE_OURS}, {OF_ARQ, now}}) do
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', arq_list, scores[1], scores[2], 'LIMIT', 0, math.min(limit, room))) do
      room = room - 1
      take_back(id, arq_list)
    end
  end
end

-- An older version kept what was handed back before all others of its lane. Some of it at a time joins its tenants' jobs.
-- Answers the lanes in which there is more.
local function take_in_first()
  local names, keys, more = {'', SHARED_LANE}, {}, {}
  for name in pairs(models.known) do names[#names + 1] = name end
  for _, name in ipairs(redis.call('ZRANGE', LANES, 0, LANES_A_CLAIM - 1)) do names[#names + 1] = name end
  for i, name in ipairs(names) do keys[i] = LANE_FIRST .. name end
  if redis.call('EXISTS', unpack(keys)) == 0 then return more end
  for i, key in ipairs(keys) do
    for _, id in ipairs(room > 0 and redis.call('ZRANGE', key, 0, room - 1) or {}) do
      room = room - 1
      redis.call('ZREM', key, id)
      local job = load_job(id)
      if job and job.status == QUEUED and not arq.holds(job) then lanes.put(job, now, now) end
    end
    if redis.call('EXISTS', key) == 1 then more[#more + 1] = names[i] end
  end
  return more
end

local not_taken_in = take_in_first()

local function note(leased, admitted)
  first_token = first_token or leased.token
  if admitted and admitted.start and limits.reserve(leased.id .. ':' .. leased.token .. ':0', admitted, admitted.start) then
    leased.granted, leased.delay = admitted.scope, (admitted.start - limits.now()) / 1000
  end
  leases[#leases + 1], ids[#ids + 1] = Lease(leased), leased.id
  bytes = bytes + math.max(#leased.payload, tonumber(leased.payload_bytes or '') or 0)  -- as the worker holds it
  if bytes >= CLAIMED_BYTES then looks = 0 end
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', SUSPECTS, '-inf', now, 'LIMIT', 0, math.min(suspects, limit))) do
  if looks == 0 then break end
  redis.call('ZREM', SUSPECTS, id)
  local leased = claim_job(id, worker, claim, now, lease, ttl, function(job)
    local limit = concurrency.full_limit(job)
    if not limit then return now end
    concurrency.put_off(limit, job)
  end)
  if leased then note(leased) end
end
local has_room_for_suspects = suspects > #leases

local function is_shared(lane) return lane.name == SHARED_LANE or lane.is_idle and lanes.beside(lane.name) == SHARED_LANE end

-- The next job of a lane. Answers whether there may be more.
local function take(lane)
  if lane.is_idle and redis.call('ZSCORE', LANES, lanes.beside(lane.name)) then  -- others wait there
    lane.opens = LANE_BLIND_MS
    return false
  end
  local id, owner, tag, key, place = task_lanes.head(lane)
  if not id then return false end
  local admitted, wait, is_parked, must_leave
  local leased, why = claim_job(id, worker, claim, now, lease, ttl, function(job)
    must_leave = task_lanes.must_leave(job)
    if must_leave then return nil end
    admitted, wait, is_parked = admittance.of(lane, job)
    job.charged = lanes.charge(place, job)
    return admitted and (admitted.start and math.floor(now + (admitted.start - limits.now()) / 1000) or now)
  end)
  if leased then
    note(leased, admitted)
    task_lanes.serve(lane, place, leased.owner, tag, leased.charged, leased.priority)
  elseif must_leave then
    looks = looks - 1
    task_lanes.set_apart(lane, id, key, now)
  elseif why == 'no room' and is_parked and is_shared(lane) then
    -- The others in this lane ask other models. An admin may end the park before its time.
    redis.call('ZREM', key, id)
    local longest = math.max(AWAY_MS, AWAY_EACH_MS * redis.call('ZCARD', LATER))
    redis.call('ZADD', LATER, now + math.min(wait / 1000, longest), id)
  elseif why == 'no room' then
    lane.opens = math.min(wait / 1000, LANE_BLIND_MS)
    return false
  else
    looks = looks - 1
    redis.call('ZREM', key, id)
    if why == NEWER then redis.call('ZADD', LATER, now + LEASE_MS, id) end
    if why == NOT_IN_BOOK then
      for _, arq_list in pairs(ARQ_QUEUES) do redis.call('ZREM', arq_list, id) end
    end
  end
  return true
end

-- One job of each lane in turn, as long as there is room for `most`.
local function take_turns(set, most)
  local due = lanes.due(set, now)
  local open, turns = #due, 0
  while open > 0 and #leases < most and looks > 0 and turns < 2 * most + LANES_A_CLAIM do
    for _, lane in ipairs(due) do
      if not lane.over and #leases < most and looks > 0 then
        turns = turns + 1
        if not take(lane) then lane.over, open = true, open - 1 end
      end
    end
  end
  for _, lane in ipairs(due) do lanes.leave(lane, now) end
end

take_turns(LANES, limit)
-- Idle jobs have what is left, but never the worker's last places while others wait for a limit or a park.
local for_idle = redis.call('EXISTS', LANES) == 1 and math.min(idle, limit) or limit
if #leases < for_idle then take_turns(IDLE_LANES, for_idle) end
for _, name in ipairs(not_taken_in) do redis.call('ZADD', LANES, 'NX', now, name) end
limits.save()

if first_token then note_claim(worker, claim, first_token, ids) end
-- Nothing is left: who waits to be woken need not look.
if #leases < limit and room > 0 and looks > 0 then redis.call('DEL', WAKEUP .. LLM) end

local next_due
if room == 0 or looks == 0 then next_due = 0 end  -- there may be more
local function look_at_head(key)
  local head = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  local wait = head[2] and math.max(0, tonumber(head[2]) - now)
  if wait and (not next_due or wait < next_due) then next_due = wait end
end
look_at_head(LANES)
look_at_head(LATER)
if #leases < for_idle then look_at_head(IDLE_LANES) end
if has_room_for_suspects then look_at_head(SUSPECTS) end
return Claimed{leases = leases, unknown = unknown, next_due = next_due and math.ceil(next_due)}
