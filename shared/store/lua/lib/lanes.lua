-- Lanes: the waiting jobs by what limits them. In the asyncio pool that is the model that they name; the forking pool is
-- one lane. In each, tenants take turns by start-time fair queueing (Goyal, Vin, Cheng: "Start-time Fair Queueing", 1996):
-- a tenant's tag is the virtual time at which its next job starts; the lowest is served, and moves on by the job's cost
-- over the tenant's weight. Virtual time is the tag of what was served last. A newcomer starts there, behind nobody's
-- backlog, or at the lowest tag of all where that is before it, as in Sheng et al.: "Fairness in Serving Large Language
-- Models", 2024: what runs really cost is known at their end alone, and what was charged beyond that comes back.
-- Priority orders a tenant's own jobs, and what was handed back goes before those: before its own tenant's only, or who
-- is handed back again and again would get every turn. Nothing here walks over tenants or jobs.
-- Idle jobs stand in lanes of their own, which a claim looks at last: one beside each lane that has some.

local lanes = {}

-- The lane of a job and what it costs: in the forking pool what was charged for its run, in ms; else its first request's
-- tokens (the forecast at submission), then that request's sort and its model. All models that the settings do not name
-- share a lane: jobs may name any, and must not get a turn by each.
function lanes.of(job)
  local beside = job.priority == IDLE and IDLE_LANE or ''
  if job.queue == SYNC then return beside .. SYNC_LANE, tonumber(job.charged) or 0 end
  local tokens, sort, shared, model = string.match(job.lane or '', '^(%d+) ([^%s~]*)(~?) (.*)$')
  model = model or ''
  return beside .. (shared == '~' and SHARED_LANE or model), tonumber(tokens) or PLAIN_COST, sort or '', model
end

-- Where a job waits: in its lane, or in one that its task has beside that, as so many of those may run at once and no more.
-- Its record says which of the two, whatever is said of its task meanwhile. Also the lane itself.
function lanes.place_of(job)
  local base = lanes.of(job)
  return job.apart and TASK_LANE .. job.task .. ' ' .. base or base, base
end

-- The lane beside which an idle one is.
function lanes.beside(name) return string.sub(name, #IDLE_LANE + 1) end

-- Who takes turns: owners, and each queue of plain RQ, as not every worker serves it.
function lanes.tenant(job) return job.origin and PLAIN_RQ .. job.origin or job.owner end

local function is_plain(tenant) return string.find(tenant, PLAIN_RQ, 1, true) == 1 end

-- Whose turns those are: of plain RQ's queues that is the owner of all of them.
local function owner_of(tenant) return string.match(tenant, '^%S*') end
lanes.owner_of = owner_of

local FRONT = 'front'  -- instead of a priority

local function jobs_of(priority, tenant, name) return LANE_JOBS .. priority .. ':' .. tenant .. ':' .. name end
lanes.jobs_of = jobs_of

-- Where those of a tenant wait that were handed back.
function lanes.front_of(tenant, name) return jobs_of(FRONT, tenant, name) end

-- A claim of the asyncio pool is to look at this lane; one of the forking pool looks at its lanes anyway.
local function mark_due(job, name, now)
  if job.queue == LLM then redis.call('ZADD', job.priority == IDLE and IDLE_LANES or LANES, 'NX', now, name) end
end

-- What this call knows of its own: when the last of some jobs was ready, by their key, and who stands in a lane; nil: it
-- takes some out, and has to look.
local latest, stands
each_call(function() latest, stands = {}, nil end)

-- Nobody leaves a lane in this call.
function lanes.nobody_leaves() stands = {} end

-- A job waits, ready since then; `front`: it was handed back.
function lanes.put(job, ready, now)
  local name = lanes.place_of(job)
  if job.front then
    insist('ZADD', lanes.front_of(lanes.tenant(job), name), job.created_at, job.id)
  else
    local key = jobs_of(job.priority, lanes.tenant(job), name)
    local last = latest[key] or tonumber(insist('ZRANGE', key, -1, -1, 'WITHSCORES')[2] or 0)
    local score = last > now and last or ready  -- Redis's clock went back: it comes after those
    redis.call('ZADD', key, score, job.id)
    latest[key] = math.max(last, score)
  end
  lanes.show(job, now)
end

-- That a job waits: its tenant stands in its lane, and the lane among those that are looked at.
function lanes.show(job, now)
  local name, base = lanes.place_of(job)
  local key, tenant = LANE_TENANTS .. name, lanes.tenant(job)
  local place = tenant .. ' ' .. key
  if stands and stands[place] then return end
  if insist('ZADD', key, 'NX', concurrency.time_of(base), tenant) == 1 then
    local first, tag = unpack(redis.call('ZRANGE', key, 0, 0, 'WITHSCORES'))
    -- Behind nobody who has got something back; but what no worker serves stands where it stood long ago.
    if first ~= tenant and not is_plain(first) then redis.call('ZADD', key, tag, tenant) end
    if job.apart then concurrency.joins(base, tenant, tonumber(tag)) end
  end
  if job.apart then concurrency.show_task(base, job.task) end
  mark_due(job, base, now)
  if stands then stands[place] = true end
end

function lanes.remove(job)
  local name = lanes.place_of(job)
  if insist('ZREM', jobs_of(job.priority, lanes.tenant(job), name), job.id) == 0 then
    insist('ZREM', lanes.front_of(lanes.tenant(job), name), job.id)
  end
end

function lanes.holds(job)
  local name = lanes.place_of(job)
  return insist('ZSCORE', jobs_of(job.priority, lanes.tenant(job), name), job.id)
    or insist('ZSCORE', lanes.front_of(lanes.tenant(job), name), job.id)
end

-- A tenant's turns and not a lane's are counted: who has each 89th of those would have the same priority's for long. The
-- count goes by twos; it is odd after a turn that another priority than high had. Beside it stands what the tenant's runs
-- in this lane use: a mean that forgets (EWMA).
local USUAL = 'usual:'

local function read_turns(lane, tenant)
  local known = redis.pcall('HMGET', LANE_TURNS .. lane.name, tenant, USUAL .. tenant)
  lane.turns, lane.usual = tonumber(known[1] or '') or 0, tonumber(known[2] or '') or UNKNOWN_COST
end

local function learn(name, tenant, used)
  local key, field = LANE_TURNS .. name, USUAL .. tenant
  local mean = tonumber(peek('HGET', key, field) or '')
  if used == 0 then return mean or UNKNOWN_COST end  -- it was stopped or refused
  mean = mean and mean + LEARN * (used - mean) or used
  redis.pcall('HSET', key, field, string.format('%.1f', mean))  -- an end must not fail half-way
  return mean
end

-- What a claim of the asyncio pool charges a job's owner in advance: what is usual, and not the forecast. That is a cap, a
-- hundred times too large for all one knows; of so much, for each of many runs, too little would come back in time.
function lanes.charge(lane, job)
  local _, tokens = lanes.of(job)
  return math.max(1, math.floor(math.min(tokens, lane.usual)))
end

-- A run of a job has ended: its tenant pays for the tokens, or the time, that it really used and not what was charged.
-- What comes back counts, and its next jobs go before others', but never more than MOST_IN_A_ROW of its usual runs: those
-- who came meanwhile would wait for it. `was_turn`: that costs something, whatever the run used, or who is handed back,
-- refused or cancelled again and again would have all of them for nothing.
function lanes.settle(job, used, was_turn)
  local _, cost = lanes.of(job)
  local name, base = lanes.place_of(job)
  local charged = tonumber(job.charged) or cost
  used = math.min(used, MOST_PAID)
  local paid = was_turn and math.max(used, math.min(cost, TURN_COST)) or used
  local key, tenant, weight = LANE_TENANTS .. name, lanes.tenant(job), concurrency.weight(job.weight)
  local tag = tonumber(insist('ZADD', key, 'XX', 'INCR', (paid - charged) / weight, tenant) or nil)
  if job.apart then
    local had = concurrency.had(base, tenant)
    if had then concurrency.set_had(base, tenant, had + (paid - charged) / weight) end
    insist('ZADD', LANE_TENANTS .. base, 'XX', 'INCR', (paid - charged) / weight, tenant)
  end
  if not tag and (job.apart or paid <= charged or redis.call('EXISTS', key) == 0) then return end
  local usual, time = learn(name, tenant, used), concurrency.time_of(base)
  if not tag then  -- it waits for nothing, but others do: a debt, until virtual time has come to it
    redis.call('ZADD', key, time + (paid - charged) / weight, tenant)
    mark_due(job, name, 0)
  elseif paid < charged and tag < time - MOST_IN_A_ROW * usual / weight then
    redis.call('ZADD', key, time - MOST_IN_A_ROW * usual / weight, tenant)
  end
end

-- Turns spread evenly from 0 to 1, however few of them are looked at (a Weyl sequence).
local function spread(turn) return turn * 0.6180339887498949 % 1 end

-- Lanes begin in turn: where a provider has room for one request at a time, any of them may be the one to get it.
local function rotate(list)
  if #list < 2 then return list end
  local turn = ((tonumber(peek('GET', TURN .. LLM) or '') or 0) + 1) % 1000000
  redis.call('SET', TURN .. LLM, turn)
  local first, rotated = math.floor(spread(turn) * #list), {}
  for i = 1, #list do rotated[i] = list[(first + i - 1) % #list + 1] end
  return rotated
end

-- The lanes of a set that are to be looked at now.
function lanes.due(set, now)
  local list = {}
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', set, '-inf', now, 'LIMIT', 0, LANES_A_CLAIM)) do
    list[#list + 1] = {name = name, queue = LLM, set = set, is_idle = set == IDLE_LANES}
  end
  return rotate(list)
end

-- In which order a turn of each priority looks at a tenant's jobs.
lanes.orders = {[HIGH] = {HIGH, NORMAL, LOW}, [NORMAL] = {NORMAL, HIGH, LOW}, [LOW] = {LOW, HIGH, NORMAL}}

-- Which priority is looked at first: of 20 turns high has 16, normal 3, low 1. After a turn of another one high goes first
-- all the same: what comes now and then has its share without being passed over.
function lanes.order(turns)
  local at = spread(math.floor(turns / 2) + 1)
  local order = lanes.orders[at < 0.05 and LOW or at < 0.2 and NORMAL or HIGH]
  if turns % 2 == 0 or order[1] == HIGH then return order end
  return {HIGH, order[1], order[3]}
end

-- A tenant's next job and its key; nil if it waits for nothing.
local function head_of(tenant, lane)
  local key = lanes.front_of(tenant, lane.name)
  local id = insist('ZRANGE', key, 0, 0)[1]
  read_turns(lane, tenant)
  if id then return id, key end
  for _, priority in ipairs(lane.is_idle and {IDLE} or lanes.order(lane.turns)) do
    key = jobs_of(priority, tenant, lane.name)
    id = insist('ZRANGE', key, 0, 0)[1]
    if id then return id, key end
  end
end

local function waits(tenant, lane)
  local keys = {lanes.front_of(tenant, lane.name)}
  for _, priority in ipairs(PRIORITIES) do keys[#keys + 1] = jobs_of(priority, tenant, lane.name) end
  return redis.call('EXISTS', unpack(keys)) > 0
end

-- The tenant whose turn it is, and its tag. `lane.passes` says whom this worker can't serve: few queues of plain RQ.
local function next_tenant(lane)
  local rank = 0
  while true do
    local tenant, tag = unpack(insist('ZRANGE', LANE_TENANTS .. lane.name, rank, rank, 'WITHSCORES'))
    if not tenant or concurrency.is_aside(tag) then
      lane.is_over, lane.is_empty, lane.is_aside = true, rank == 0 and not tenant, rank == 0 and tenant
      return nil
    end
    if not (lane.passes and lane.passes(tenant) and waits(tenant, lane)) then return tenant, tonumber(tag) end
    rank = rank + 1
  end
end

local to_drop  -- tenants in one script: it must block nobody
each_call(function() to_drop = STEP / 2 end)

-- What a tenant has had in the lane itself, or in another one of a task beside it, counts in each of those: its tag there,
-- if that is later.
local function later_tag(lane, tenant, tag)
  if not lane.base then return nil end
  local own = tonumber(insist('ZSCORE', LANE_TENANTS .. lane.base, tenant) or nil)
  local later = math.max(own and not concurrency.is_aside(own) and own or tag, concurrency.had(lane.base, tenant) or tag)
  return later > tag and later
end

-- It waits for nothing, and owes nothing any more.
local function drop(lane, tenant, tag)
  redis.call('ZREM', LANE_TENANTS .. lane.name, tenant)
  insist('HDEL', LANE_TURNS .. lane.name, tenant, USUAL .. tenant)
  if lane.base then concurrency.forget_had(lane.base, tenant) end
  lane.time = math.max(lane.time or 0, tag)
end

-- The next job of a lane, the tenant whose turn it is, its tag and the key of the job; nil if nobody waits, or so many
-- stand first who do not, or have to stand aside, that the next script has to go on: then it stays due.
function lanes.head(lane)
  while true do
    local tenant, tag = next_tenant(lane)
    if not tenant then return nil end
    local limit = concurrency.of_owner(lane.queue, owner_of(tenant))
    local is_full = concurrency.is_full(limit)
    local later = not is_full and later_tag(lane, tenant, tag)
    if not is_full and not later then
      local id, key = head_of(tenant, lane)
      lane.weight = limit.weight
      if id then return id, tenant, tag, key end
    end
    if to_drop == 0 then
      lane.goes_on = true
      return nil
    end
    to_drop = to_drop - 1
    if is_full then
      concurrency.stand_aside(limit, lane, tenant, tag)
    elseif later then
      redis.call('ZADD', LANE_TENANTS .. lane.name, later, tenant)
    else
      drop(lane, tenant, tag)
    end
  end
end

-- A tenant was served: virtual time is its tag, and the next of its jobs starts later by what this one costs over its
-- weight. Of plain RQ's queues some worker may have served none for a while: that saves up nothing.
function lanes.serve(lane, tenant, tag, cost, priority)
  lane.time = math.max(lane.time or 0, tag)
  local behind = is_plain(tenant) and lane.time - tag or 0
  insist('ZADD', LANE_TENANTS .. lane.name, 'XX', 'INCR', behind + cost / lane.weight, tenant)
  if lane.base then
    concurrency.set_had(lane.base, tenant, (concurrency.had(lane.base, tenant) or tag) + cost / lane.weight)
    insist('ZADD', LANE_TENANTS .. lane.base, 'XX', 'INCR', cost / lane.weight, tenant)
  end
  lanes.count_turn(lane, tenant, priority)
end

function lanes.count_turn(lane, tenant, priority)
  if lane.is_idle then return end
  local parity = priority == HIGH and 0 or 1
  increase(LANE_TURNS .. lane.name, tenant, 2 + parity - lane.turns % 2)
end

function lanes.keep_time(lane)
  if lane.is_empty and not concurrency.is_told() then  -- no tenant has a tag: time may begin anew
    redis.call('HDEL', LANE_TIME, lane.name)
  elseif lane.time and lane.time > concurrency.time_of(lane.name) then
    redis.call('HSET', LANE_TIME, lane.name, string.format('%.3f', lane.time))
  end
end

-- A claim leaves a lane: to be looked at again once it opens, at the next claim, or when somebody waits there again, or
-- need not stand aside any more.
function lanes.leave(lane, now)
  lanes.keep_time(lane)
  if (lane.is_empty or lane.is_aside) and not lane.has_tasks then
    redis.call('ZREM', lane.set, lane.name)
  else
    redis.call('ZADD', lane.set, lane.opens and now + lane.opens or now, lane.name)
  end
end
