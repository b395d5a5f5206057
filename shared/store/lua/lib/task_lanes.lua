-- Tasks of which so many may run at once and no more have a lane of their own beside each lane in which their jobs wait,
-- so that those hold up no others of their owner. Both are one line as far as turns go: they have one virtual time, a
-- turn in the one counts in the other, and who has the lowest tag in any is next. While a task has no room its lane is
-- not looked at.

local task_lanes = {}

local MOST_TASKS = 100

-- The lanes of tasks beside a lane in which somebody waits, as a claim has left them.
local function beside(lane)
  if lane.of_tasks then return lane.of_tasks end
  lane.of_tasks = {}
  if not concurrency.is_told() then return lane.of_tasks end
  for _, task in ipairs(concurrency.shown_tasks(lane.name, MOST_TASKS)) do
    lane.of_tasks[#lane.of_tasks + 1] = {name = TASK_LANE .. task .. ' ' .. lane.name, base = lane.name, task = task,
      queue = lane.queue, is_idle = lane.is_idle, time = lane.time}
  end
  return lane.of_tasks
end

-- The next job of a lane, as `lanes.head`; nil: nobody waits there.
local function head_in(place)
  local id, tenant, tag, key = lanes.head(place)
  return id and {id = id, tenant = tenant, tag = tag, key = key, place = place}
end

-- The same of a task's lane; nil: nobody there may start one now, and nobody looks there any more.
local function head_of_task(place)
  local limit = concurrency.of_task(place.task)
  if concurrency.is_full(limit) then
    concurrency.hide_task(place, limit)
    return nil
  end
  local found = head_in(place)
  if not found and (place.is_empty or place.is_aside) then concurrency.hide_task(place) end
  return found
end

-- Which turn of its tenant's a job has: what was handed back goes first, then by whose priority's turn it is.
local function turn_of(found, order)
  local priority = string.match(found.key, '^' .. LANE_JOBS .. '(%a+):')
  for turn, name in ipairs(order) do
    if name == priority then return turn end
  end
  return 0
end

-- So many turns has had the tenant of both, which need not wait in the lane itself.
local function turns_of(found, other, lane)
  if lane.first == found.tenant then return lane.turns end
  return 2 * (math.floor(found.place.turns / 2) + math.floor(other.place.turns / 2))
end

-- Whether a job of a task's lane goes before another one. Of the same tenant it does by priority, and by age.
local function goes_before(found, other, lane)
  if found.tenant ~= other.tenant then return found.tag < other.tag end
  local order = lane.is_idle and {} or lanes.order(turns_of(found, other, lane))
  local turn, others = turn_of(found, order), turn_of(other, order)
  if turn ~= others then return turn < others end
  return tonumber(redis.call('ZSCORE', found.key, found.id)) <= tonumber(redis.call('ZSCORE', other.key, other.id))
end

-- As `lanes.head`, of a lane and those of tasks beside it; and where that job waits.
function task_lanes.head(lane)
  local best = head_in(lane)
  lane.has_tasks, lane.first = false, best and best.tenant
  for _, place in ipairs(beside(lane)) do
    if not place.is_over then
      local found = head_of_task(place)
      if found and (not best or goes_before(found, best, lane)) then best = found end
      lane.goes_on = lane.goes_on or place.goes_on
      place.is_over = not found and not place.goes_on
      lane.has_tasks = lane.has_tasks or not place.is_over
    end
  end
  if not best then
    lane.is_over = lane.is_over and not lane.goes_on
    return nil
  end
  lane.is_over = false
  return best.id, best.tenant, best.tag, best.key, best.place
end

-- A tenant was served in one of them.
function task_lanes.serve(lane, place, tenant, tag, cost, priority)
  lanes.serve(place, tenant, tag, cost, priority)
  if place == lane then return end
  lane.time = math.max(lane.time or 0, place.time)
  if lane.first == tenant then lanes.count_turn(lane, tenant, priority) end
end

-- Whether a job that waits among all others may not start, as its task has no room.
function task_lanes.must_leave(job)
  local limit = concurrency.of_task(job.task, job.origin)
  return not job.apart and concurrency.is_full(limit)
end

-- It leaves that line for the one of its task.
function task_lanes.set_apart(lane, id, key, now)
  local job = load_job(id)
  redis.call('ZREM', key, id)
  job.apart = '1'
  redis.call('HSET', job_key(id), 'apart', 1)
  lanes.put(job, tonumber(job.ready_at or now), now)
  lane.of_tasks, lane.has_tasks = nil, true
end
