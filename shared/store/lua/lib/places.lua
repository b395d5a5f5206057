-- How many jobs are served before one that waits, as far as a few looks tell. Nothing here walks over jobs, and over
-- MOST_TENANTS tenants at most.

local places = {}

local TURNS = {[HIGH] = 16, [NORMAL] = 3, [LOW] = 1}  -- of 20
local MOST_TENANTS, MOST_COUNTED = 100, 10

-- Of 20 turns those of the priorities that have jobs left; one that has none leaves its own to the next in order.
local function turns_among(left)
  local shared = {}
  for priority, turns in pairs(TURNS) do
    for _, next in ipairs(lanes.orders[priority]) do
      if left[next] > 0 then
        shared[next] = (shared[next] or 0) + turns
        break
      end
    end
  end
  return shared
end

-- How many jobs of other priorities are served before the last of priority `own`, of so many of each.
local function passing(left, own)
  local passed = 0
  while left[own] > 0 do
    local shared, rounds = turns_among(left), math.huge
    for priority, turns in pairs(shared) do rounds = math.min(rounds, left[priority] / turns) end
    for priority, turns in pairs(shared) do
      left[priority] = left[priority] - rounds * turns
      if left[priority] < 1e-6 then left[priority] = 0 end
      if priority ~= own then passed = passed + rounds * turns end
    end
  end
  return math.floor(passed + 1e-6)
end

-- How many take turns in a lane: all but those who stand aside.
local function tenants_in(name) return redis.call('ZCOUNT', LANE_TENANTS .. name, '-inf', '(' .. whole(ASIDE / 2)) end

-- Of the other tenants of a lane: each gets a turn for each of `own`, and one more who is before the tenant now. `most` of
-- them are looked at; the others are as those. Who stands aside waits for nobody but its own.
local function of_others(job, name, own, most)
  local key = LANE_TENANTS .. name
  local all = tenants_in(name)
  if all < 2 then return 0, all == 0 end
  local rank, before = redis.call('ZRANK', key, lanes.tenant(job)) or all - 1, 0
  if rank >= all then return 0, true end
  local tenants, owners = redis.call('ZRANGE', key, 0, math.min(most, all) - 1), {}
  for i, tenant in ipairs(tenants) do owners[i] = lanes.owner_of(tenant) end
  local shares = SHARES .. job.queue
  for i, written in ipairs(redis.call('HMGET', shares, unpack(owners))) do
    if tenants[i] ~= lanes.tenant(job) then
      local waiting = (tonumber(written or '') or 0) + unwritten(shares, owners[i])
      before = before + math.min(waiting, own + (i <= rank and 1 or 0))
    end
  end
  return math.floor(before * math.max(1, all / #owners))
end

-- About all that wait in a lane.
local function waiting_in(name)
  local all, sum = tenants_in(name), 0
  if all == 0 then return 0 end
  local owners = redis.call('ZRANGE', LANE_TENANTS .. name, 0, math.min(MOST_COUNTED, all) - 1)
  for _, owner in ipairs(owners) do
    sum = sum + redis.call('ZCARD', lanes.front_of(owner, name))
    for priority in pairs(TURNS) do sum = sum + redis.call('ZCARD', lanes.jobs_of(priority, owner, name)) end
  end
  return math.ceil(sum * all / #owners)
end

-- Of a tenant's own jobs in a lane: those that were handed back, then those of its priority, and of others by their
-- turns, of which idle ones have none. nil: it is in none.
local function of_tenant(job, name)
  local tenant = lanes.tenant(job)
  local front = lanes.front_of(tenant, name)
  local rank = job.front and redis.call('ZRANK', front, job.id)
  if rank then return rank end
  local place = redis.call('ZRANK', lanes.jobs_of(job.priority, tenant, name), job.id)
  if not place then return nil end
  if count_of(SHARES .. job.queue, job.owner) == place + 1 then return place end  -- no other job of its owner waits
  local own = redis.call('ZCARD', front) + place
  if job.priority == IDLE then return own end
  local left = {}
  for priority in pairs(TURNS) do left[priority] = redis.call('ZCARD', lanes.jobs_of(priority, tenant, name)) end
  left[job.priority] = place + 1
  return own + passing(left, job.priority)
end

-- In a lane: those of its tenant, and a fair share of those of others; before an idle job all that are not. nil: it is
-- in none. `most`: so many tenants are looked at. Also whether its tenant stands aside.
function places.in_lane(job, most)
  local name, base = lanes.place_of(job)
  local before = job.priority == IDLE and waiting_in(lanes.beside(base)) or 0
  local own = of_tenant(job, name)
  if not own then return nil end
  local waiting = math.max(1, count_of(COUNTS .. job.queue, QUEUED))
  local others, is_aside = of_others(job, name, own, most or MOST_TENANTS)
  return math.max(0, math.min(before + own + others, waiting - 1)), is_aside
end
