-- Look at a stretch of all jobs, oldest first, for ones that no list leads to, and put them back: what an operator
-- or another program has deleted by hand. Those that wait longer than they may are over, where no claim comes to them.
-- Answers how many were put back.
local now, found = now_ms(), 0

-- A job that has just been changed is not looked at: it is somebody's work under way.
local function is_settled(job) return now - (job.ready_at or job.created_at) > LEASE_MS end

local function has_lease(job)
  if job.queue == LLM then return redis.call('ZSCORE', LEASES, job.id) end
  return redis.call('ZSCORE', RQ_WIP .. rq_queue(job), rq_lease(job, job.token))
end

local function put_back(job)
  local is_sync, due = job.queue == SYNC, math.max(now, job.ready_at or now)
  if is_sync and job.status == QUEUED then due = now end  -- Redis's clock may have gone back
  if is_sync and job.status == SCHEDULED then due = math.max(due, now + 1) end  -- the clock's next step moves it
  engine[job.queue].revive(job, now)
  engine[job.queue].enqueue(job, due, now)
  wake(job.queue)
end

local function recover(job)
  if WAITING[job.status] and end_overdue(job, now, ttl) then return 0 end
  if WAITING[job.status] and is_settled(job) and not engine[job.queue].holds(job) then
    put_back(job)
    return 1
  end
  if job.status == QUEUED then
    lanes.show(job, now)
    concurrency.call_back(job.queue, job.owner, lanes.tenant(job), (lanes.place_of(job)))
  end
  if job.status == RUNNING and not has_lease(job) then
    -- Without it nobody would notice that its worker died: let it run out now.
    if job.queue == LLM then
      redis.call('ZADD', LEASES, now + LEASE_MS, job.id)
    else
      rq.lease(job, job.token, now, LEASE_MS)
    end
    return 1
  end
  return 0
end

local start = tonumber(redis.call('GET', SWEPT) or 0)
local ids, seen = redis.call('ZRANGE', INDEX, start, start + looks - 1), 0
for _, id in ipairs(ids) do
  if out_of_time() then break end  -- the next call goes on here
  local job = load_job(id)
  if job and job.queue then found = found + recover(job) end
  if job and not UNFINISHED[job.status] then expire_when_told(id, now) end  -- its delivery may be lost
  seen = seen + 1
end
redis.call('SET', SWEPT, seen < looks and seen == #ids and 0 or start + seen, 'PX', 86400000)
return found
