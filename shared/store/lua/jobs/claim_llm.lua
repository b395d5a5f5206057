-- Claim up to `limit` due jobs of the asyncio pool.
-- ARGV: worker, lease_ms, ttl_ms, limit, how many of them may be suspects, the claim's number.
-- Returns {leases, ids that are not in the job book, their queues and what arq keeps of them, ms until the next due id or -1}.
local now, ttl, limit, suspects = now_ms(), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
mind_the_gap(now)
hand_back_unheard('llm', ARGV[1], ARGV[6], now)

-- Jobs of dead workers first: back to the front of their queue, or fenced off.
for _, id in ipairs(redis.call('ZRANGEBYSCORE', LEASES, '-inf', now, 'LIMIT', 0, 200)) do
  local job = load(id)
  if not job or job.status ~= 'running' then
    redis.call('ZREM', LEASES, id)
  elseif not crashed(job, false, now, ttl) then
    requeue(job, job.token, now, now, true)
  end
end
if is_paused('llm') then return {{}, {}, -1} end

local leases, unknown = {}, {}

local function take(id, queue)
  local lease, why = claim(id, ARGV[1], now, tonumber(ARGV[2]), ttl)
  if lease then
    leases[#leases + 1] = lease
  elseif why == 'unknown' then
    -- Not in the job book: to be adopted, or left to its owner, out of the way of the others.
    redis.call('ZREM', SUSPECTS, id)
    local record, running = redis.call('GET', 'arq:job:' .. id), redis.call('GET', 'arq:in-progress:' .. id)
    if not record or running == RAN then
      redis.call('ZREM', queue, id)
      redis.call('DEL', 'arq:job:' .. id)
    else
      redis.call('ZADD', queue, now + LEASE_MS, id)
      if not running then unknown[#unknown + 1] = {id, queue, record} end
    end
  elseif why == 'running' then
    -- arq's own abort() moves scores.
    redis.call('ZADD', queue, redis.call('ZSCORE', LEASES, id) or now + LEASE_MS, id)
  else
    redis.call('ZREM', queue, id)
  end
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', SUSPECTS, '-inf', now, 'LIMIT', 0, math.min(suspects, limit))) do
  redis.call('ZREM', SUSPECTS, id)
  take(id, 'arq:queue')
end
local room = suspects > #leases  -- for another one

local waiting, busy = {}, {}
for priority, queue in pairs(ARQ) do
  waiting[priority] = redis.call('ZRANGEBYSCORE', queue, '-inf', now, 'LIMIT', 0, limit)
  if #waiting[priority] > 0 then busy[#busy + 1] = priority end
end
local taken, seen = {high = 0, normal = 0, low = 0}, 0
local function next_of(order)
  for _, priority in ipairs(order) do
    if taken[priority] < #waiting[priority] then
      taken[priority] = taken[priority] + 1
      return waiting[priority][taken[priority]], ARQ[priority]
    end
  end
end
while #leases < limit and seen < 2 * limit do
  local id, queue = next_of(#busy > 1 and turn('llm') or busy)
  if not id then break end
  seen = seen + 1
  take(id, queue)
end

if leases[1] then note_claim(ARGV[1], ARGV[6], leases[1][6]) end
-- Nothing is left: who waits for a bell need not look.
if #leases < limit then redis.call('DEL', BELL .. 'llm') end
local due = -1
for _, queue in pairs({ARQ.high, ARQ.normal, ARQ.low, room and SUSPECTS or nil}) do
  local head = redis.call('ZRANGE', queue, 0, 0, 'WITHSCORES')
  local wait = head[2] and math.max(0, tonumber(head[2]) - now)
  if wait and (due < 0 or wait < due) then due = wait end
end
return {leases, unknown, math.ceil(due)}
