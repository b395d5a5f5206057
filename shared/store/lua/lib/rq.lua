-- The forking pool's side of the book. Jobs wait in its lane (lib/lanes.lua) once they are due, and stand meanwhile in an
-- index of their queue, for who looks at it. As RQ reads them: for each queue a sorted set of scheduled ids, one of
-- running ones by the end of their lease (`id:token`, in seconds), registries of finished ones, and a hash for each job.
-- RQ's lists hold what its own clients enqueue, until it is adopted.

local rq = {}

local function rq_queue(job) return job.origin or RQ_NAMES[job.priority] end

-- The queues that are ours: those of the priorities, and those of plain RQ that workers serve.
local function rq_queues()
  local names = {}
  for _, priority in ipairs(PRIORITIES) do names[#names + 1] = RQ_NAMES[priority] end
  for _, name in ipairs(redis.call('SMEMBERS', ORIGINS)) do names[#names + 1] = name end
  return names
end

-- What RQ shows of a job; whatever else stands in its key gives way.
local function rq_show(job, ...)
  local key = RQ_JOB .. job.id
  if type(redis.pcall('HSET', key, ...)) == 'number' then return end
  redis.call('UNLINK', key)
  redis.call('HSET', key, ...)
end

function rq.describe(job, _, fields) rq_show(job, unpack(fields)) end

function rq.enqueue(job, due, now)
  local queue, status = rq_queue(job), due > now and SCHEDULED or QUEUED
  redis.call('SADD', RQ_QUEUES, RQ_QUEUE .. queue)
  if status == SCHEDULED then
    redis.call('ZADD', RQ_SCHEDULED .. queue, due / 1000, job.id)
  else
    redis.call('ZADD', WAITING_IN .. queue, due, job.id)
    lanes.put(job, due, now)
  end
  rq_show(job, 'status', RQ_STATUS[status], 'origin', queue, 'worker_name', '',
    'enqueued_at', iso(now))
end

-- It waits no more.
local function rq_leave(job)
  redis.call('ZREM', WAITING_IN .. rq_queue(job), job.id)
  lanes.remove(job)
end

-- Whether a waiting job is where it is found.
function rq.holds(job)
  if job.status == SCHEDULED then return redis.call('ZSCORE', RQ_SCHEDULED .. rq_queue(job), job.id) end
  return redis.call('ZSCORE', WAITING_IN .. rq_queue(job), job.id) and lanes.holds(job)
end

local function rq_lease(job, token) return job.id .. ':' .. (token or '') end

-- The id and the token of a lease; nil if it is none.
local function read_rq_lease(member) return string.match(member, '^(.*):([^:]*)$') end

function rq.lease(job, token, now, lease)
  redis.call('ZADD', RQ_WIP .. rq_queue(job), (now + lease) / 1000, rq_lease(job, token))
end

function rq.start(job, worker, now)
  rq_leave(job)
  rq_show(job, 'status', RQ_STATUS[RUNNING], 'origin', rq_queue(job), 'started_at', iso(now),
    'ended_at', '', 'worker_name', worker)
end

function rq.unschedule(job) redis.call('ZREM', RQ_SCHEDULED .. rq_queue(job), job.id) end

function rq.release(job, token)
  redis.call('ZREM', RQ_WIP .. rq_queue(job), rq_lease(job, token))
end

-- RQ shows the text of an error from its own record.
local function rq_error(job)
  local text = redis.call('HGET', job_key(job.id), 'error')
  if not text then return end
  local error = decode(text)
  if error then rq_show(job, 'exc_info', tostring(error.type) .. ': ' .. tostring(error.message)) end
end

function rq.finish(job, token, status, now, ttl)
  local queue = rq_queue(job)
  rq.release(job, token)
  if job.status == QUEUED then rq_leave(job) end
  if job.status == SCHEDULED then rq.unschedule(job) end
  redis.call('ZADD', RQ_REGISTRIES[status] .. queue, (now + ttl) / 1000, job.id)
  rq_show(job, 'status', RQ_STATUS[status], 'ended_at', iso(now), 'worker_name', '')
  if status == FAILED then rq_error(job) end
  redis.call('PEXPIRE', RQ_JOB .. job.id, ttl)
end

local function rq_unregister(job)
  for _, registry in pairs(RQ_REGISTRIES) do redis.call('ZREM', registry .. rq_queue(job), job.id) end
end

function rq.revive(job)
  rq_unregister(job)
  redis.call('PERSIST', RQ_JOB .. job.id)
  rq_show(job, 'started_at', '', 'ended_at', '')
  redis.call('HDEL', RQ_JOB .. job.id, 'exc_info')
end

function rq.forget(job)
  rq_unregister(job)
  redis.call('DEL', RQ_JOB .. job.id, RQ_RESULTS .. job.id)
end
