-- Claim the next job of the forking pool.
-- ARGV: worker, lease_ms, ttl_ms, the claim's number, then further queues of plain RQ that this worker serves.
-- Returns {leases (none or one), ids that are not in the job book and their queues}.
local now, unknown = now_ms(), {}
hand_back_unheard('sync', ARGV[1], ARGV[4], now)
if is_paused('sync') then return {{}, {}} end

-- RQ lets an id be enqueued again when its job has ended.
local function is_anew(id, status)
  if UNFINISHED[status] or redis.call('HGET', job_key(id), 'native') ~= 'rq' then return false end
  local shown = redis.call('HGET', rq_hash({id = id}), 'status')
  return shown == 'queued' or shown == 'scheduled'
end

local names = {}
for _, priority in ipairs(turn('sync')) do names[#names + 1] = RQ[priority] end
for i = 5, #ARGV do
  redis.call('SADD', ORIGINS, ARGV[i])
  names[#names + 1] = ARGV[i]
end
for _, name in ipairs(names) do
  local id = redis.call('LPOP', 'rq:queue:' .. name)
  while id do
    local lease, why = claim(id, ARGV[1], now, tonumber(ARGV[2]), tonumber(ARGV[3]))
    if lease then
      note_claim(ARGV[1], ARGV[4], lease[6])
      return {{lease}, unknown}
    end
    if why == 'unknown' or is_anew(id, why) then
      -- Not in the job book: kept aside until it is adopted or refused; the clock puts it back if neither happens.
      redis.call('ZADD', ADOPTING, now + LEASE_MS, name .. ' ' .. id)
      unknown[#unknown + 1] = {id, name}
      if #unknown >= 20 then return {{}, unknown} end
    end
    id = redis.call('LPOP', 'rq:queue:' .. name)
  end
end
redis.call('DEL', BELL .. 'sync')
return {{}, unknown}
