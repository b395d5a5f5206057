-- The asyncio pool's side of the book, as arq reads it: one sorted set of ids by due time for each priority; a running
-- id's score is the end of its lease. Leases stand in a set of their own as well, and suspects (crashed twice) wait in
-- another one.

local arq = {}

-- What is given back goes before everything else, whatever its priority.
local function arq_queue(job) return ARQ_QUEUES[job.front and HIGH or job.priority] end

local FAR = 9e15  -- a score that no clock reaches

local function is_suspect(job)
  return tonumber(job.crashes or 0) >= SUSPECT_AFTER
end

-- arq's own record of a job, for `arq.jobs.Job`. What came through plain arq has one.
function arq.describe(job, now)
  if job.native then return end
  redis.call('SET', ARQ_JOB .. job.id,
    '{"t": null, "f": "' .. job.task .. '", "a": [], "k": {}, "et": ' .. whole(now) .. '}')
end

function arq.enqueue(job, due, now, front)
  if front and due <= now then due = job.created_at end
  redis.call('DEL', ARQ_IN_PROGRESS .. job.id)
  if is_suspect(job) then
    redis.call('ZADD', SUSPECTS, due, job.id)
    due = FAR
  end
  redis.call('ZADD', arq_queue(job), due, job.id)
end

function arq.lease(job, token, now, lease)
  redis.call('ZADD', LEASES, now + lease, job.id)
  redis.call('ZADD', arq_queue(job), now + lease, job.id)
  redis.call('SET', ARQ_IN_PROGRESS .. job.id, token, 'PX', lease)
end

function arq.start() end
function arq.unschedule() end

function arq.running() return redis.call('ZRANGE', LEASES, 0, -1) end

function arq.release(job)
  redis.call('ZREM', LEASES, job.id)
  redis.call('ZREM', arq_queue(job), job.id)
end

-- `arq.jobs.Job.result()` of a job that came through plain arq: its own record and what became of it.
-- JSON readers take the last of two equal names, so what arq wrote is kept as it was.
local function arq_result(job, status, now, ttl)
  local record = peek('GET', ARQ_JOB .. job.id)
  if not record then return end
  local f = redis.call('HMGET', job_key(job.id), 'result', 'error')
  local good, value = status == SUCCEEDED, f[1]
  if not good then
    local error = decode(f[2]) or {type = status, message = 'the job was ' .. status}
    value = cjson.encode(tostring(error.type) .. ': ' .. tostring(error.message))
  end
  local parts = {string.sub(record, 1, -2), ', "t": ', math.max(1, tonumber(job.attempt)), ', "s": ', tostring(good),
    ', "r": ', value or 'null', ', "st": ', job.started_at or whole(now), ', "ft": ', whole(now),
    ', "q": "', ARQ_QUEUES[job.priority], '", "id": ', cjson.encode(job.id), '}'}
  redis.call('SET', ARQ_RESULT .. job.id, table.concat(parts), 'PX', ttl)
end

function arq.finish(job, _, status, now, ttl)
  if job.native == 'arq' then arq_result(job, status, now, ttl) end
  arq.release(job)
  redis.call('ZREM', SUSPECTS, job.id)
  redis.call('DEL', ARQ_IN_PROGRESS .. job.id, ARQ_RETRY .. job.id)
  if job.native then
    redis.call('PEXPIRE', ARQ_JOB .. job.id, ttl)  -- its arguments, for a retry
  else
    redis.call('DEL', ARQ_JOB .. job.id)
  end
end

-- Finished once, and waiting again.
function arq.revive(job, now)
  arq.describe(job, now)
  redis.call('PERSIST', ARQ_JOB .. job.id)
  redis.call('DEL', ARQ_RESULT .. job.id)
end

function arq.forget(job)
  redis.call('DEL', ARQ_JOB .. job.id, ARQ_RESULT .. job.id)
end
