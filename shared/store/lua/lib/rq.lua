-- The forking pool's side of the book, as RQ reads it: for each queue a list of waiting ids, a sorted set of due ones,
-- one of running ones by the end of their lease (`id:token`, in seconds), registries of finished ones, and a hash for
-- each job.

local rq = {}

-- What is given back goes before everything else, whatever its priority; what is idle, before its like.
local function rq_queue(job)
  local is_first = job.front and job.priority ~= IDLE
  return is_first and RQ_NAMES[HIGH] or job.origin or RQ_NAMES[job.priority]
end

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

function rq.enqueue(job, due, now, front)
  local queue, status = rq_queue(job), due > now and SCHEDULED or QUEUED
  redis.call('SADD', RQ_QUEUES, RQ_QUEUE .. queue)
  if status == SCHEDULED then
    redis.call('ZADD', RQ_SCHEDULED .. queue, due / 1000, job.id)
  else
    redis.call(front and 'LPUSH' or 'RPUSH', RQ_QUEUE .. queue, job.id)
  end
  rq_show(job, 'status', RQ_STATUS[status], 'origin', queue, 'worker_name', '',
    'enqueued_at', iso(now))
end

local function rq_lease(job, token) return job.id .. ':' .. (token or '') end

-- The id and the token of a lease; nil if it is none.
local function read_rq_lease(member) return string.match(member, '^(.*):([^:]*)$') end

function rq.lease(job, token, now, lease)
  redis.call('ZADD', RQ_WIP .. rq_queue(job), (now + lease) / 1000, rq_lease(job, token))
end

function rq.running()
  local ids = {}
  for _, queue in ipairs(rq_queues()) do
    for _, member in ipairs(redis.call('ZRANGE', RQ_WIP .. queue, 0, -1)) do ids[#ids + 1] = read_rq_lease(member) end
  end
  return ids
end

function rq.start(job, worker, now)
  rq_show(job, 'status', RQ_STATUS[RUNNING], 'origin', rq_queue(job), 'started_at', iso(now),
    'ended_at', '', 'worker_name', worker)
end

function rq.unschedule(job) redis.call('ZREM', RQ_SCHEDULED .. rq_queue(job), job.id) end

function rq.release(job, token)
  redis.call('ZREM', RQ_WIP .. rq_queue(job), rq_lease(job, token))
end

-- Whether an id that became ready then is in the second half of a waiting list: it is searched from the nearer end.
local function is_behind_middle(list, ready_at)
  local middle = redis.call('LINDEX', list, math.floor(redis.call('LLEN', list) / 2))
  local middle_ready_at = middle and peek('HGET', job_key(middle), 'ready_at')
  return is_count(middle_ready_at) and tonumber(middle_ready_at) < tonumber(ready_at or 0)
end

local function remove_from_rq_list(job)
  local list = RQ_QUEUE .. rq_queue(job)
  redis.call('LREM', list, is_behind_middle(list, job.ready_at) and -1 or 1, job.id)
end

-- Whether what stands at a place of a list became ready before that time. Ids that are no jobs of ours say nothing: the
-- next one of ours speaks for them.
local function is_ready_before(list, place, ready_at)
  for _, id in ipairs(redis.call('LRANGE', list, place, place + 9)) do
    local f = redis.pcall('HMGET', job_key(id), 'ready_at', 'front')
    if is_count(f[1]) then return f[2] or tonumber(f[1]) < ready_at end
  end
  return false
end

-- Where in a list those begin that became ready at that time. A list is in the order in which jobs became ready, but for
-- those that were given back, at its head; so they are looked for by bisection.
local function place_in_rq_list(list, ready_at)
  local low, high = 0, redis.call('LLEN', list)
  while low < high do
    local middle = math.floor((low + high) / 2)
    if is_ready_before(list, middle, ready_at) then low = middle + 1 else high = middle end
  end
  return low
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
  if job.status == QUEUED and not job.popped then remove_from_rq_list(job) end
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
