-- The asyncio pool's side of the book. Jobs wait in lanes (lib/lanes.lua) once they are due, in a set of their own before,
-- and suspects (crashed twice) in another one. arq's sets, one for each priority, are an index of all that wait: a score
-- is the due time in seconds, where arq's own is in milliseconds, so that what came through plain arq stands apart.

local arq = {}

local function arq_queue(job) return ARQ_QUEUES[job.priority] end

local BEFORE_OURS, OF_ARQ = 1e9, 1e11  -- scores that are not in between are arq's own

-- arq's own record of a job, for `arq.jobs.Job`. What came through plain arq has one.
function arq.describe(job, now)
  if job.native then return end
  redis.call('SET', ARQ_JOB .. job.id,
    '{"t":null,"f":"' .. job.task .. '","a":[],"k":{},"et":' .. whole(now) .. '}')
end

-- In arq's own index.
function arq.show(job, due)
  redis.call('ZADD', arq_queue(job), (due or job.ready_at or job.created_at) / 1000, job.id)
end

function arq.enqueue(job, due, now, front)
  if job.token or job.native then redis.call('DEL', ARQ_IN_PROGRESS .. job.id) end
  arq.show(job, due)
  if is_suspect(job) then
    redis.call('ZADD', SUSPECTS, front and due <= now and math.min(job.created_at, due) or due, job.id)
  elseif due > now then
    redis.call('ZADD', LATER, due, job.id)
  else
    lanes.put(job, due, now)
  end
end

function arq.lease(job, token, now, lease)
  write_member(LEASES, job.id, now + lease)
  redis.call('SET', ARQ_IN_PROGRESS .. job.id, token, 'PX', lease)
end

-- It waits no more. arq's own client takes a job for lost that stands in no set of arq's before it has a result.
local function arq_leave(job)
  if job.native ~= 'arq' then write_member(arq_queue(job), job.id, false) end
  lanes.remove(job)
end

function arq.start(job) arq_leave(job) end

-- Whether a waiting job is where it is found.
function arq.holds(job)
  if redis.call('ZSCORE', SUSPECTS, job.id) then return true end
  if job.status == SCHEDULED then return redis.call('ZSCORE', LATER, job.id) end
  return lanes.holds(job) or redis.call('ZSCORE', LATER, job.id)
end

function arq.unschedule(job) redis.call('ZREM', LATER, job.id) end

function arq.release(job) write_member(LEASES, job.id, false) end

-- `arq.jobs.Job.result()` of a job that came through plain arq: its own record and what became of it.
-- JSON readers take the last of two equal names, so what arq wrote is kept as it was.
local function arq_result(job, status, now, ttl)
  local record = peek('GET', ARQ_JOB .. job.id)
  if not record then return end
  local f = redis.call('HMGET', job_key(job.id), 'result', 'error')
  local good, value = status == SUCCEEDED, f[1] or peek('GET', RESULT .. job.id)  -- as it is: see leases.py
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
  if job.native == 'arq' then redis.call('ZREM', arq_queue(job), job.id) end
  if job.status == RUNNING then
    arq.release(job)
  else
    arq_leave(job)
    redis.call('ZREM', LATER, job.id)
    redis.call('ZREM', SUSPECTS, job.id)
  end
  if job.native then
    redis.call('DEL', ARQ_IN_PROGRESS .. job.id, ARQ_RETRY .. job.id)
    redis.call('PEXPIRE', ARQ_JOB .. job.id, ttl)  -- its arguments, for a retry
  else
    redis.call('DEL', ARQ_IN_PROGRESS .. job.id, ARQ_RETRY .. job.id, ARQ_JOB .. job.id)
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
