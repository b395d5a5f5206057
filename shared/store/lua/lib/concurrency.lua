-- How many jobs run at once: of a tenant in a pool, of a task. What may run so, and the tenants' weights, stand in a hash as the
-- config file says them (shared/limits/fairness.py); what does, in a set for each limit, whose name is that of its field:
-- `llm:acme`, `task:report`. So a run is counted once, however often somebody says so, and a recount finds what is wrong.
-- A tenant that has as many as it may stands aside in each lane in which it comes to be first: its tag is then beyond all
-- others', by ASIDE, and costs no claim a look. It comes back when one of its runs ends.

local concurrency = {}

local UNLIMITED = {weight = 1}
local LINE = '\n'
local limits_there, limits_of  -- in one call
each_call(function() limits_there, limits_of = nil, {} end)

-- As it stands somewhere; 1 where that is no weight.
function concurrency.weight(text)
  local weight = tonumber(text or '') or 1
  return weight > 0 and weight < math.huge and weight or 1
end

-- Where nothing is said of anybody, that is all that a claim asks.
local function is_told()
  if limits_there == nil then limits_there = redis.call('EXISTS', FAIRNESS, LANE_TASKS) > 0 end
  return limits_there
end
concurrency.is_told = is_told

-- An owner's weight, and its limit in a pool: its name and the `most` that may run, nil if that is not limited.
function concurrency.of_owner(queue, owner)
  if not is_told() then return UNLIMITED end
  local name = queue .. ':' .. owner
  if not limits_of[name] then
    local f = redis.pcall('HMGET', FAIRNESS, WEIGHT .. owner, name)
    limits_of[name] = {name = name, because = 'tenant_concurrency', weight = concurrency.weight(f[1]), most = tonumber(f[2] or '')}
  end
  return limits_of[name]
end

-- The limit of a task; plain RQ's jobs (`origin`) have names of their own.
function concurrency.of_task(task, origin)
  if origin or not is_told() then return UNLIMITED end
  local name = TASK .. task
  if not limits_of[name] then
    limits_of[name] = {name = name, because = 'task_concurrency', most = tonumber(peek('HGET', FAIRNESS, name) or '')}
  end
  return limits_of[name]
end

function concurrency.is_full(limit)
  return limit.most ~= nil and insist('ZCARD', RUNNING_OF .. limit.name) >= limit.most
end

-- A limit by its name alone; nil `most`: there is none any more.
local function of_name(name) return {name = name, most = is_told() and tonumber(peek('HGET', FAIRNESS, name) or '') or nil} end

-- The limits under which a job runs.
local function of_job(job)
  local limits = {}
  for _, limit in ipairs({concurrency.of_owner(job.queue, job.owner), concurrency.of_task(job.task, job.origin)}) do
    if limit.most then limits[#limits + 1] = limit end
  end
  return limits
end

-- The limit of a job that has no room; nil: none.
function concurrency.full_limit(job)
  for _, limit in ipairs(of_job(job)) do
    if concurrency.is_full(limit) then return limit end
  end
end

-- A job is about to run: it is counted. Sets what its record says of that (`counted`), and its owner's weight.
function concurrency.begin(job, now)
  local weight, names = concurrency.of_owner(job.queue, job.owner).weight, {}
  job.weight = weight ~= 1 and weight or nil
  for _, limit in ipairs(of_job(job)) do
    insist('ZADD', RUNNING_OF .. limit.name, now, job.id)
    names[#names + 1] = limit.name
  end
  job.counted = names[1] and table.concat(names, LINE)
end

local function is_counted(counted, name) return string.find(LINE .. (counted or '') .. LINE, LINE .. name .. LINE, 1, true) end

-- What stands aside for a limit, until there is room; and when to look whether its count is right.
local function stand_by(name, who)
  insist('SADD', ASIDE_FOR .. name, who)
  redis.call('ZADD', ASIDE_LIMITS, 'NX', now_ms() + RECOUNT_MS, name)
end

function concurrency.stand_aside(limit, lane, tenant, tag)
  redis.call('ZADD', LANE_TENANTS .. lane.name, 'XX', tag + ASIDE, tenant)
  stand_by(limit.name, tenant .. LINE .. lane.name)
end

-- A suspect stands in no lane.
function concurrency.put_off(limit, job)
  redis.call('ZADD', SUSPECTS, now_ms() + LEASE_MS, job.id)
  stand_by(limit.name, LINE .. job.id)
end

-- Whether this is the tag of one who stands aside: beyond half of ASIDE, as its own may be less than nothing.
function concurrency.is_aside(tag) return tonumber(tag) >= ASIDE / 2 end

-- A lane's virtual time. Workers of an older version serve who stands aside, and leave it where everybody seems to: it begins
-- anew then.
function concurrency.time_of(base)
  local time = tonumber(peek('HGET', LANE_TIME, base) or '') or 0
  return concurrency.is_aside(time) and 0 or time
end

-- A claim is to look at this lane. The forking pool's are looked at anyway.
local function show_lane(lane)
  if lane == SYNC_LANE or lane == IDLE_LANE .. SYNC_LANE then return end
  redis.call('ZADD', string.find(lane, IDLE_LANE, 1, true) == 1 and IDLE_LANES or LANES, 'NX', 0, lane)
end

-- Tasks that have a lane of their own beside this one, in which somebody waits.
function concurrency.show_task(lane, task) redis.call('ZADD', LANE_TASKS, 0, lane .. LINE .. task) end

-- Where those are more than `most`, some of them, which a later call begins elsewhere with: none waits for ever.
function concurrency.shown_tasks(lane, most)
  local tasks, first = {}, lane .. LINE
  local from, to = '[' .. first, '(' .. lane .. '\011'
  local shown = redis.call('ZRANGEBYLEX', LANE_TASKS, from, to, 'LIMIT', 0, most + 1)
  if #shown > most then
    local start = now_ms() % redis.call('ZLEXCOUNT', LANE_TASKS, from, to)
    local later = redis.call('ZRANGEBYLEX', LANE_TASKS, from, to, 'LIMIT', start, most)
    for i = 1, most - #later do later[#later + 1] = shown[i] end
    shown = later
  end
  for _, task in ipairs(shown) do tasks[#tasks + 1] = string.sub(task, #first + 1) end
  return tasks
end

-- Nobody looks there, until the limit has room, or somebody comes.
function concurrency.hide_task(place, limit)
  redis.call('ZREM', LANE_TASKS, place.base .. LINE .. place.task)
  if limit then stand_by(limit.name, TASK .. LINE .. place.base) end
end

-- What a tenant has had in all lanes of tasks beside one, as a tag: or it would have a turn in each. It stands with its
-- turns in the lane itself, as long as it waits in one of those.
local HAD = 'had:'

function concurrency.had(base, tenant) return tonumber(peek('HGET', LANE_TURNS .. base, HAD .. tenant) or '') end

function concurrency.set_had(base, tenant, tag)
  redis.pcall('HSET', LANE_TURNS .. base, HAD .. tenant, string.format('%.3f', tag))  -- an end must not fail half-way
end

function concurrency.forget_had(base, tenant) insist('HDEL', LANE_TURNS .. base, HAD .. tenant) end

-- It comes to a lane of a task, at this tag: nobody saves up turns while it waits in none that is looked at.
function concurrency.joins(base, tenant, tag)
  local had = concurrency.had(base, tenant)
  if had and had < tag then concurrency.set_had(base, tenant, tag) end
end

-- Its tag is what it was, but nobody saves up turns by standing aside.
local function come_back(tenant, lane)
  local task, base = string.match(lane, '^' .. TASK_LANE .. '(%S+) (.*)$')
  base = base or lane
  local tag = tonumber(insist('ZSCORE', LANE_TENANTS .. lane, tenant) or nil)
  if not tag or not concurrency.is_aside(tag) then return end
  local time = concurrency.time_of(base)
  redis.call('ZADD', LANE_TENANTS .. lane, math.max(tag - ASIDE, time), tenant)
  if task then
    concurrency.joins(base, tenant, math.max(tag - ASIDE, time))
    concurrency.show_task(base, task)
  end
  show_lane(base)
end

-- It stands aside, and its limit does not know: somebody has deleted that, and nobody would call it back.
function concurrency.call_back(queue, owner, tenant, lane)
  local tag = insist('ZSCORE', LANE_TENANTS .. lane, tenant)
  if not tag or not concurrency.is_aside(tag) then return end
  if insist('SISMEMBER', ASIDE_FOR .. queue .. ':' .. owner, tenant .. LINE .. lane) == 0 then come_back(tenant, lane) end
end

-- There may be room: who stands aside comes back. Answers whether somebody does.
function concurrency.open(name)
  local waiting = insist('SMEMBERS', ASIDE_FOR .. name)
  if not waiting[1] or concurrency.is_full(of_name(name)) then return false end
  for _, who in ipairs(waiting) do
    local tenant, place = string.match(who, '^([^\n]*)\n(.*)$')
    if tenant == '' then
      redis.call('ZADD', SUSPECTS, 'XX', 'LT', 0, place)
    elseif tenant == TASK then
      concurrency.show_task(place, string.sub(name, #TASK + 1))
      show_lane(place)
    elseif tenant then
      come_back(tenant, place)
    end
  end
  redis.call('DEL', ASIDE_FOR .. name)
  redis.call('ZREM', ASIDE_LIMITS, name)
  if string.sub(name, 1, #LLM) ~= LLM then wake(SYNC) end
  if string.sub(name, 1, #SYNC) ~= SYNC then wake(LLM) end
  return true
end

-- A run is over.
function concurrency.release(job)
  for name in string.gmatch(job.counted or '', '[^\n]+') do
    insist('ZREM', RUNNING_OF .. name, job.id)
    concurrency.open(name)
  end
  job.counted = nil
end

-- Whether a job that has run under its task's limit is to wait in that one's lane.
function concurrency.is_of_task(job) return is_counted(job.counted, TASK .. job.task) end

-- Look at those of a limit whose turn it is longest since, whether they run. Answers how many do not.
local function drop_ended(name, most, now)
  local ended = 0
  for _, id in ipairs(insist('ZRANGE', RUNNING_OF .. name, 0, most - 1)) do
    local f = redis.pcall('HMGET', job_key(id), 'status', 'counted')
    if f[1] == RUNNING and is_counted(f[2], name) then
      redis.call('ZADD', RUNNING_OF .. name, now, id)
    else
      ended = ended + redis.call('ZREM', RUNNING_OF .. name, id)
    end
  end
  return ended
end

-- Limits for which somebody waits, and that are due: what is counted and does not run is not counted any more. Answers how
-- many of such there were, and of other limits that had room.
function concurrency.check(now)
  local found = 0
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', ASIDE_LIMITS, '-inf', now, 'LIMIT', 0, STEP)) do
    if out_of_time() then break end
    local ended = drop_ended(name, STEP, now)
    redis.call('ZADD', ASIDE_LIMITS, now + RECOUNT_MS, name)
    local had_room = concurrency.open(name)
    found = found + (ended == 0 and had_room and 1 or ended)
    if redis.call('EXISTS', ASIDE_FOR .. name) == 0 then redis.call('ZREM', ASIDE_LIMITS, name) end
  end
  return found
end

-- A running job that is not counted: it began before its limit was set, or under an older version. Answers whether it is.
function concurrency.count_in(id, now)
  local job = is_told() and load_job(id)
  if not job or job.status ~= RUNNING then return false end
  local missing = false
  for _, limit in ipairs(of_job(job)) do
    if not is_counted(job.counted, limit.name) then
      missing, job.counted = true, job.counted and job.counted .. LINE .. limit.name or limit.name
    end
    insist('ZADD', RUNNING_OF .. limit.name, 'NX', now, id)
  end
  if missing then redis.call('HSET', job_key(id), 'counted', job.counted) end
  return missing
end
