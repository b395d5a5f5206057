-- Whether a submission may be stored. Each returns nil, or the answer instead of storing it.

-- The answer to a repeated Idempotency-Key. It holds as long as it was promised, also when its job is gone.
local function find_repeated(id, idempotency, fingerprint)
  if not idempotency then return nil end
  local kept = redis.call('HMGET', IDEMPOTENCY .. idempotency, 'id', 'fingerprint')
  if not kept[1] or kept[1] == id then return nil end
  return Repeated{id = kept[1], same = kept[2] == fingerprint, gone = redis.call('EXISTS', job_key(kept[1])) == 0}
end

local function remember(id, idempotency, fingerprint, ttl)
  if not idempotency then return end
  local key = IDEMPOTENCY .. idempotency
  redis.call('HSET', key, 'id', id, 'fingerprint', fingerprint)
  redis.call('PEXPIRE', key, ttl)
  redis.call('HSET', job_key(id), 'idempotency', idempotency)
end

-- A token bucket of one minute as GCRA (ITU-T I.371): `tat` is when the bucket will be full again.
-- Returns what is left, ms until one more fits (0: it fits now and is taken), ms until the bucket is full.
local function take_from_bucket(key, rpm, now)
  local interval = 60000 / rpm
  local tat = math.min(math.max(tonumber(peek('GET', key) or '') or 0, now), now + 60000)
  local ahead = tat - now
  if ahead + interval > 60000.001 then return 0, math.ceil(ahead + interval - 60000), math.ceil(ahead) end
  redis.call('SET', key, string.format('%.3f', tat + interval), 'PX', math.ceil(ahead + interval))
  return math.floor((60000.001 - ahead - interval) / interval), 0, math.ceil(ahead + interval)
end

-- A full queue or share: refused with the time in which as many jobs as are too many will have ended.
local function refuse(kind, waiting, most, rate)
  return Refused{kind = kind, wait = rate > 0 and math.ceil((waiting - most + 1) / rate)}
end

local function refuse_if_full(job, waiting, now, queue_max, share)
  local function rate() return is_paused(job.queue) and 0 or drain_rate(job.queue, now) end
  if waiting >= queue_max then return refuse('full', waiting, queue_max, rate()) end
  local own = count_of(SHARES .. job.queue, job.owner)
  -- Of the jobs that end, an owner's are as many as of those that wait.
  if own >= share then return refuse('share', own, share, rate() * own / math.max(own, waiting)) end
  return nil
end
