-- Claim up to `limit` due jobs of the asyncio pool, `suspects` of them suspects at most. `claim` names this call.
local now = now_ms()
extend_leases_after_outage(now)
undo_unanswered_claim(LLM, worker, claim, now)

-- Jobs of dead workers first: back to the front of their queue, or fenced off.
for _, id in ipairs(redis.call('ZRANGEBYSCORE', LEASES, '-inf', now, 'LIMIT', 0, STEP)) do
  local job = load_job(id)
  if not job or job.status ~= RUNNING then
    redis.call('ZREM', LEASES, id)
  else
    give_back_expired(job, now, ttl)
  end
end
if is_paused(LLM) then return Claimed{leases = {}, unknown = {}} end

local leases, unknown, first_token = {}, {}, nil

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

local function take(id, arq_list)
  local leased, why = claim_job(id, worker, claim, now, lease, ttl)
  if leased then
    first_token = first_token or leased.token
    leases[#leases + 1] = Lease(leased)
  elseif why == NOT_IN_BOOK then
    set_aside(id, arq_list)
  elseif why == NEWER then
    redis.call('ZADD', arq_list, now + LEASE_MS, id)
  elseif why == RUNNING then
    -- arq's own abort() moves scores.
    redis.call('ZADD', arq_list, redis.call('ZSCORE', LEASES, id) or now + LEASE_MS, id)
  else
    redis.call('ZREM', arq_list, id)
  end
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', SUSPECTS, '-inf', now, 'LIMIT', 0, math.min(suspects, limit))) do
  redis.call('ZREM', SUSPECTS, id)
  take(id, ARQ_QUEUES[NORMAL])
end
local has_room_for_suspects = suspects > #leases

local waiting, busy, taken, seen = {}, {}, {}, 0
for _, priority in ipairs(PRIORITIES) do
  waiting[priority], taken[priority] = redis.call('ZRANGEBYSCORE', ARQ_QUEUES[priority], '-inf', now, 'LIMIT', 0, limit), 0
  if #waiting[priority] > 0 then busy[#busy + 1] = priority end
end
local function next_of(priorities)
  for _, priority in ipairs(priorities) do
    if taken[priority] < #waiting[priority] then
      taken[priority] = taken[priority] + 1
      return waiting[priority][taken[priority]], ARQ_QUEUES[priority]
    end
  end
end
while #leases < limit and seen < 2 * limit do
  local id, arq_list = next_of(#busy > 1 and next_priorities(LLM) or busy)
  if not id then break end
  seen = seen + 1
  take(id, arq_list)
end

if first_token then note_claim(worker, claim, first_token) end
-- Nothing is left: who waits to be woken need not look.
if #leases < limit then redis.call('DEL', WAKEUP .. LLM) end

local next_due
local function look_at_head(key)
  local head = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  local wait = head[2] and math.max(0, tonumber(head[2]) - now)
  if wait and (not next_due or wait < next_due) then next_due = wait end
end
for _, priority in ipairs(PRIORITIES) do look_at_head(ARQ_QUEUES[priority]) end
if has_room_for_suspects then look_at_head(SUSPECTS) end
return Claimed{leases = leases, unknown = unknown, next_due = next_due and math.ceil(next_due)}
