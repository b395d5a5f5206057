-- Claim the next job of the forking pool; `origins` are queues of plain RQ that this worker serves as well. `claim` names
-- this call.
local now, unknown = now_ms(), {}
undo_unanswered_claim(SYNC, worker, claim, now)
if is_paused(SYNC) then return Claimed{leases = {}, unknown = {}} end

-- RQ lets an id be enqueued again when its job has ended.
local function is_anew(id, status)
  if UNFINISHED[status] or redis.call('HGET', job_key(id), 'native') ~= 'rq' then return false end
  local shown = peek('HGET', RQ_JOB .. id, 'status')
  return shown == RQ_STATUS[QUEUED] or shown == RQ_STATUS[SCHEDULED]
end

-- Out of the way of the others: the clock puts it back, unless it is seen to before.
local function set_aside(id, name) redis.call('ZADD', ADOPTING, now + LEASE_MS, name .. ' ' .. id) end

-- Queues of plain RQ have a turn of their own, the first of each five, and each of them in its turn.
local priorities, turn = next_priorities(SYNC)
local names = {}
for _, priority in ipairs(priorities) do names[#names + 1] = RQ_NAMES[priority] end
for i = 0, #origins - 1 do
  local origin = origins[(math.floor(turn / 5) + i) % #origins + 1]
  redis.call('SADD', ORIGINS, origin)
  table.insert(names, turn % 5 == 1 and i + 1 or #names + 1, origin)
end
names[#names + 1] = RQ_NAMES[IDLE]
for _, name in ipairs(names) do
  local id = redis.call('LPOP', RQ_QUEUE .. name)
  while id do
    local leased, why = claim_job(id, worker, claim, now, lease, ttl)
    if leased then
      note_claim(worker, claim, leased.token)
      return Claimed{leases = {Lease(leased)}, unknown = unknown}
    end
    if why == NEWER then
      set_aside(id, name)
    elseif why == NOT_IN_BOOK or is_anew(id, why) then
      set_aside(id, name)  -- until it is adopted or refused
      unknown[#unknown + 1] = Unknown{raw = id, queue = name}
      if #unknown >= 20 then return Claimed{leases = {}, unknown = unknown} end
    end
    id = redis.call('LPOP', RQ_QUEUE .. name)
  end
end
redis.call('DEL', WAKEUP .. SYNC)
return Claimed{leases = {}, unknown = unknown}
