-- RQ: for each queue a list of waiting ids, a sorted set of due ones, one of running ones by the end of
-- their lease (`id:token`, in seconds), registries of finished ones, and a hash for each job.

local RQ = {high = 'sync-high', normal = 'sync', low = 'sync-low'}
local RQ_STATUS = {succeeded = 'finished', failed = 'failed', cancelled = 'canceled', expired = 'canceled'}
local RQ_REGISTRY = {succeeded = 'finished', failed = 'failed', cancelled = 'canceled', expired = 'canceled'}

-- What is given back goes before everything else, whatever its priority.
local function rq_queue(job) return job.front and RQ.high or job.origin or RQ[job.priority] end
local function rq_hash(job) return 'rq:job:' .. job.id end

-- The queues that are ours: the three priorities, and those of plain RQ that workers serve.
local function rq_queues()
  local names = redis.call('SMEMBERS', ORIGINS)
  for _, name in pairs(RQ) do names[#names + 1] = name end
  return names
end

function engine.sync.enqueue(job, due, now, front)
  local queue = rq_queue(job)
  redis.call('SADD', 'rq:queues', 'rq:queue:' .. queue)
  if due > now then
    redis.call('ZADD', 'rq:scheduled:' .. queue, due / 1000, job.id)
  else
    redis.call(front and 'LPUSH' or 'RPUSH', 'rq:queue:' .. queue, job.id)
  end
  redis.call('HSET', rq_hash(job), 'status', due > now and 'scheduled' or 'queued', 'origin', queue, 'worker_name', '',
    'enqueued_at', iso(now))
end

function engine.sync.lease(job, token, now, lease_ms)
  redis.call('ZADD', 'rq:wip:' .. rq_queue(job), (now + lease_ms) / 1000, job.id .. ':' .. token)
end

function engine.sync.leased()
  local ids = {}
  for _, queue in ipairs(rq_queues()) do
    for _, member in ipairs(redis.call('ZRANGE', 'rq:wip:' .. queue, 0, -1)) do
      ids[#ids + 1] = string.match(member, '^(.*):[^:]*$')
    end
  end
  return ids
end

function engine.sync.started(job, worker, now)
  redis.call('HSET', rq_hash(job), 'status', 'started', 'origin', rq_queue(job), 'started_at', iso(now), 'ended_at', '', 'worker_name', worker)
end

function engine.sync.release(job, token)
  redis.call('ZREM', 'rq:wip:' .. rq_queue(job), job.id .. ':' .. (token or ''))
end

-- RQ shows the text of an error from its own record.
local function rq_error(job)
  local text = redis.call('HGET', job_key(job.id), 'error')
  if not text then return end
  local error = cjson.decode(text)
  redis.call('HSET', rq_hash(job), 'exc_info', error.type .. ': ' .. error.message)
end

function engine.sync.finish(job, token, status, now, ttl)
  local queue = rq_queue(job)
  engine.sync.release(job, token)
  if job.status == 'queued' and not job.popped then redis.call('LREM', 'rq:queue:' .. queue, 1, job.id) end
  if job.status == 'scheduled' then redis.call('ZREM', 'rq:scheduled:' .. queue, job.id) end
  redis.call('ZADD', 'rq:' .. RQ_REGISTRY[status] .. ':' .. queue, (now + ttl) / 1000, job.id)
  redis.call('HSET', rq_hash(job), 'status', RQ_STATUS[status], 'ended_at', iso(now), 'worker_name', '')
  if status == 'failed' then rq_error(job) end
  redis.call('PEXPIRE', rq_hash(job), ttl)
end

local function rq_unregister(job)
  for _, registry in pairs(RQ_REGISTRY) do redis.call('ZREM', 'rq:' .. registry .. ':' .. rq_queue(job), job.id) end
end

function engine.sync.revive(job)
  rq_unregister(job)
  redis.call('PERSIST', rq_hash(job))
  redis.call('HDEL', rq_hash(job), 'exc_info')
  redis.call('HSET', rq_hash(job), 'started_at', '', 'ended_at', '')
end

function engine.sync.forget(job)
  rq_unregister(job)
  redis.call('DEL', rq_hash(job), 'rq:results:' .. job.id)
end

function engine.llm.started() end
