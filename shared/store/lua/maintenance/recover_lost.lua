-- Look at a stretch of all jobs, oldest first, for ones that no list leads to, and put them back: what an operator
-- or another program has deleted by hand. ARGV: how many to look at. Returns how many were put back.
local now, most, found = now_ms(), tonumber(ARGV[1]), 0
local start = tonumber(redis.call('GET', SWEPT) or 0)
local ids = redis.call('ZRANGE', INDEX, start, start + most - 1)
redis.call('SET', SWEPT, #ids < most and 0 or start + most, 'PX', 86400000)

-- A job that has just been changed is not looked at: it is somebody's work under way.
local function is_settled(job) return now - (job.ready_at or job.created_at) > LEASE_MS end

-- As long as RQ's lists hold as many ids as jobs are queued, none is missing, and none has to be searched for.
local listed = 0
for _, name in ipairs(rq_queues()) do listed = listed + redis.call('LLEN', 'rq:queue:' .. name) end
local complete = listed == tonumber(redis.call('HGET', COUNTS .. 'sync', 'queued') or 0)

local function is_listed(job)
  if job.queue == 'llm' then return redis.call('ZSCORE', arq_queue(job), job.id) end
  if job.status == 'scheduled' then return redis.call('ZSCORE', 'rq:scheduled:' .. rq_queue(job), job.id) end
  return complete or redis.call('LPOS', 'rq:queue:' .. rq_queue(job), job.id)
end

for _, id in ipairs(ids) do
  local job = load(id)
  if job and WAITING[job.status] and is_settled(job) and not is_listed(job) then
    engine[job.queue].revive(job, now)
    engine[job.queue].enqueue(job, math.max(now, tonumber(job.ready_at or now)), now)
    ring(job.queue)
    found = found + 1
  elseif job and job.status == 'running' then
    -- Without an entry in the leases nobody would notice that its worker died: let it run out now.
    if job.queue == 'llm' and not redis.call('ZSCORE', LEASES, id) then
      redis.call('ZADD', LEASES, now + LEASE_MS, id)
      found = found + 1
    elseif job.queue == 'sync' and not redis.call('ZSCORE', 'rq:wip:' .. rq_queue(job), id .. ':' .. job.token) then
      redis.call('ZADD', 'rq:wip:' .. rq_queue(job), (now + LEASE_MS) / 1000, id .. ':' .. job.token)
      found = found + 1
    end
  end
end
return found
