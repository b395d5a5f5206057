-- Sync jobs of dead workers go back to the front of their queue, or are fenced off. Answers how many.
-- Those of the asyncio pool are given back by the next claim (jobs/claim_llm.lua).
local now, recovered, left = now_ms(), 0, STEP
extend_leases_after_outage(now)

-- A job whose status only a newer version knows is left to it. What is none, or is gone, must not hide those behind it.
local function is_a_newer_version_s(id) return id and why_not_loaded(id) == NEWER end

local function recover(member, queue)
  local id, token = read_rq_lease(member)
  local job = id and load_job(id)
  if job or not is_a_newer_version_s(id) then redis.call('ZREM', RQ_WIP .. queue, member) end
  if not job or job.status ~= RUNNING or (job.token or '') ~= token then return 0 end
  give_back_expired(job, now, ttl)
  return 1
end

for _, queue in ipairs(rq_queues()) do
  local ended = redis.call('ZRANGEBYSCORE', RQ_WIP .. queue, '-inf', now / 1000, 'LIMIT', 0, left)
  left = left - #ended
  for _, member in ipairs(ended) do
    if recovered == MOVED_AT_ONCE then break end
    recovered = recovered + recover(member, queue)
  end
end
return recovered
