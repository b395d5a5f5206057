-- Prepended to every script, in the order of the file names: 1 time, records and counters; 2 events;
-- 3 and 4 the engines' own books, which are a projection of ours; 5 the transitions; 6 admission.
-- LEGAL, the numbers and the key names come from Python (scripts.py), so that each is written once.

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function whole(number) return string.format('%.0f', number) end

-- Milliseconds since 1970 as ISO 8601. Days to dates: Howard Hinnant's civil_from_days.
local function iso(ms)
  local seconds = math.floor(ms / 1000)
  local z = math.floor(seconds / 86400) + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  local s = seconds % 86400
  return string.format('%04d-%02d-%02dT%02d:%02d:%02d.%03dZ', year, month, doy - math.floor((153 * mp + 2) / 5) + 1,
    math.floor(s / 3600), math.floor(s / 60) % 60, s % 60, ms % 1000)
end

local function job_key(id) return JOB .. id end

local FIELDS = {'status', 'queue', 'task', 'owner', 'priority', 'token', 'attempt', 'created_at', 'started_at',
  'ready_at', 'expires_at', 'webhook', 'native', 'origin', 'crashes', 'front'}

-- What the transitions need to know of a job; nil if there is no record.
local function load(id)
  local values = redis.call('HMGET', job_key(id), unpack(FIELDS))
  if not values[1] then return nil end
  local job = {id = id}
  for i, name in ipairs(FIELDS) do job[name] = values[i] end
  return job
end

local WAITING = {scheduled = true, queued = true}
local UNFINISHED = {scheduled = true, queued = true, running = true}

-- Every job of a queue by status, and of each owner those that wait.
local function count(job, from, to)
  if from and UNFINISHED[from] then redis.call('HINCRBY', COUNTS .. job.queue, from, -1) end
  if to and UNFINISHED[to] then redis.call('HINCRBY', COUNTS .. job.queue, to, 1) end
  local change = (WAITING[to] and 1 or 0) - (WAITING[from] and 1 or 0)
  if change ~= 0 and redis.call('HINCRBY', SHARES .. job.queue, job.owner, change) <= 0 then
    redis.call('HDEL', SHARES .. job.queue, job.owner)
  end
end

-- A bell wakes one idle worker; capped, because a worker that is awake needs none.
local function ring(queue)
  redis.call('LPUSH', BELL .. queue, '1')
  redis.call('LTRIM', BELL .. queue, 0, 99)
end

-- Counters for /metrics, kept here so that forked processes and several gateways give right totals.
local function tally(name, by) redis.call('HINCRBY', METRICS, name, by or 1) end

local function observe(name, job, ms)
  local label = name .. '|' .. job.task .. '|' .. job.queue
  local bucket = 'inf'
  for _, bound in ipairs(BOUNDS) do
    if ms <= bound then bucket = bound break end
  end
  tally(label .. '|' .. bucket)
  tally(label .. '|sum', math.max(0, math.floor(ms)))
end

-- How fast a queue drains: jobs ended, in buckets of ten seconds over the last minute.
local BUCKET = 10000

local function count_end(queue, now)
  local key = RATE .. queue .. ':' .. whole(math.floor(now / BUCKET))
  if redis.call('INCR', key) == 1 then redis.call('PEXPIRE', key, 8 * BUCKET) end
end

-- Jobs a millisecond; 0 if none ended in the last minute.
local function drain_rate(queue, now)
  local bucket, keys = math.floor(now / BUCKET), {}
  for i = bucket - 6, bucket do keys[#keys + 1] = RATE .. queue .. ':' .. whole(i) end
  local total, since = 0, nil
  for i, ended in ipairs(redis.call('MGET', unpack(keys))) do
    if ended then
      since = since or (bucket - 7 + i) * BUCKET
      total = total + ended
    end
  end
  return since and total / math.max(now - since, 1000) or 0
end
