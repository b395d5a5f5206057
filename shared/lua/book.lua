-- Prepended to every script: the clock, the legal transitions, the counters, and the
-- engines' own books (arq's keys, RQ's hash and registries), which are a projection of ours.
-- LEGAL, MAX_CRASHES and the key names come from Python (store.py), so that each is written once.

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function job_key(id) return JOB .. id end

local UNFINISHED = {scheduled = true, queued = true, running = true}

local function count(queue, from, to)
  if from and UNFINISHED[from] then redis.call('HINCRBY', COUNTS .. queue, from, -1) end
  if to and UNFINISHED[to] then redis.call('HINCRBY', COUNTS .. queue, to, 1) end
end

-- A bell wakes one idle worker; capped, because a worker that is awake needs none.
local function ring(queue)
  redis.call('LPUSH', BELL .. queue, '1')
  redis.call('LTRIM', BELL .. queue, 0, 99)
end

local engine = {llm = {}, sync = {}}

-- arq: one sorted set of ids by due time; a running id's score is the end of its lease. The leases stand
-- in a set of their own as well: an expired one is claimed before the backlog, whose scores are older.
function engine.llm.enqueue(id, due, now, front)
  if front and due <= now then due = redis.call('HGET', job_key(id), 'created_at') end
  redis.call('ZADD', 'arq:queue', due, id)
  redis.call('DEL', 'arq:in-progress:' .. id)
end

function engine.llm.lease(id, token, now, lease_ms)
  redis.call('ZADD', LEASES, now + lease_ms, id)
  redis.call('ZADD', 'arq:queue', now + lease_ms, id)
  redis.call('SET', 'arq:in-progress:' .. id, token, 'PX', lease_ms)
end

function engine.llm.release(id)
  redis.call('ZREM', LEASES, id)
end

function engine.llm.finish(id)
  engine.llm.release(id)
  redis.call('ZREM', 'arq:queue', id)
  redis.call('DEL', 'arq:in-progress:' .. id, 'arq:job:' .. id, 'arq:retry:' .. id)
end

-- RQ: a list of waiting ids, a sorted set of due ones, one of running ones by the end of their lease.
local RQ_STATUS = {succeeded = 'finished', failed = 'failed', cancelled = 'canceled', expired = 'canceled'}
local RQ_REGISTRY = {succeeded = 'rq:finished:sync', failed = 'rq:failed:sync',
  cancelled = 'rq:canceled:sync', expired = 'rq:canceled:sync'}

function engine.sync.enqueue(id, due, now, front)
  if due > now then
    redis.call('ZADD', 'rq:scheduled:sync', due / 1000, id)
  else
    redis.call(front and 'LPUSH' or 'RPUSH', 'rq:queue:sync', id)
  end
  redis.call('HSET', 'rq:job:' .. id, 'status', due > now and 'scheduled' or 'queued')
end

function engine.sync.lease(id, token, now, lease_ms)
  redis.call('ZADD', 'rq:wip:sync', (now + lease_ms) / 1000, id .. ':' .. token)
  redis.call('HSET', 'rq:job:' .. id, 'status', 'started')
end

function engine.sync.release(id, token)
  redis.call('ZREM', 'rq:wip:sync', id .. ':' .. token)
end

function engine.sync.finish(id, token, status, now, ttl, from)
  engine.sync.release(id, token)
  if from == 'queued' then redis.call('LREM', 'rq:queue:sync', 1, id) end
  if from == 'scheduled' then redis.call('ZREM', 'rq:scheduled:sync', id) end
  redis.call('ZADD', RQ_REGISTRY[status], (now + ttl) / 1000, id)
  redis.call('HSET', 'rq:job:' .. id, 'status', RQ_STATUS[status])
  redis.call('PEXPIRE', 'rq:job:' .. id, ttl)
end

-- The end of a job: final status, TTL, no queue entry, and whoever waits is told.
local function finish(id, queue, from, status, token, now, ttl)
  redis.call('HSET', job_key(id), 'status', status, 'finished_at', now)
  redis.call('HDEL', job_key(id), 'token', 'worker', 'run_at')
  redis.call('PEXPIRE', job_key(id), ttl)
  engine[queue].finish(id, token, status, now, ttl, from)
  count(queue, from, status)
  redis.call('PUBLISH', FINISHED, id)
end

-- Leases end by Redis's clock, which runs on while Redis is away and nobody can renew. After a gap in which
-- nobody called, what has run out meanwhile gets one more lease: its holder renews it, or is dead indeed.
local function after_a_gap(queue, key, unit, now)
  local last = tonumber(redis.call('GET', SEEN .. queue))
  redis.call('SET', SEEN .. queue, now)
  if not last or now - last < GAP_MS then return end
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', now / unit)) do
    redis.call('ZADD', key, (now + LEASE_MS) / unit, member)
    if queue == 'llm' then redis.call('ZADD', 'arq:queue', now + LEASE_MS, member) end
  end
end

-- Back to the waiting ones, due at `due`.
local function requeue(id, queue, from, token, now, due, front)
  local status = due > now and 'scheduled' or 'queued'
  redis.call('HSET', job_key(id), 'status', status)
  redis.call('HDEL', job_key(id), 'token', 'worker')
  if due > now then
    redis.call('HSET', job_key(id), 'run_at', due)
  else
    redis.call('HDEL', job_key(id), 'run_at')
  end
  engine[queue].release(id, token)
  engine[queue].enqueue(id, due, now, front)
  count(queue, from, status)
  if due <= now then ring(queue) end
end

-- `entry` is a JSON object without its time.
local function record_attempt(id, entry, now)
  local entries = redis.call('HGET', job_key(id), 'attempts')
  entry = string.sub(entry, 1, -2) .. ',"at":' .. string.format('%.0f', now) .. '}'
  redis.call('HSET', job_key(id), 'attempts', entries and (entries .. ',' .. entry) or entry)
end

local CRASH = {type = 'worker_crash', message = 'its process died or lost its lease', retryable = true}
local LOOP = {type = 'crash_loop', message = 'the job killed its worker ' .. MAX_CRASHES .. ' times',
  retryable = false}

-- The lease of a running job ran out: count the crash. True if that was one too many.
local function crashed(id, queue, token, now, ttl)
  local key = job_key(id)
  local attempt = tonumber(redis.call('HGET', key, 'attempt'))
  record_attempt(id, cjson.encode({attempt = attempt, type = CRASH.type, message = CRASH.message}), now)
  if redis.call('HINCRBY', key, 'crashes', 1) < MAX_CRASHES then
    redis.call('HSET', key, 'error', cjson.encode(CRASH))
    return false
  end
  redis.call('HSET', key, 'error', cjson.encode(LOOP))
  finish(id, queue, 'running', 'failed', token, now, ttl)
  return true
end

-- Take a waiting job, or one whose lease ran out. Returns the lease, or nil and why not.
local function claim(id, queue, worker, now, lease_ms, ttl)
  local key = job_key(id)
  local f = redis.call('HMGET', key, 'status', 'task', 'owner', 'payload', 'request_id', 'token')
  local status = f[1]
  if not status then return nil, 'unknown' end
  if not LEGAL[status].running then return nil, 'finished' end
  if status == 'running' and crashed(id, queue, f[6], now, ttl) then return nil, 'crash_loop' end
  local token = tostring(redis.call('INCR', FENCE))
  local attempt = redis.call('HINCRBY', key, 'attempt', 1)
  redis.call('HSET', key, 'status', 'running', 'token', token, 'worker', worker, 'started_at', now)
  redis.call('HDEL', key, 'run_at')
  engine[queue].lease(id, token, now, lease_ms)
  count(queue, status, 'running')
  return {id, f[2], f[3], f[4], f[5] or '', token, attempt}
end
