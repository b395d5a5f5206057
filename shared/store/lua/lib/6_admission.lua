-- Whether a submission may be stored. Each returns nil, or the refusal.

-- The answer to a repeated Idempotency-Key; a key whose job is gone is free again.
local function repeated(head)
  if not head.idempotency then return nil end
  local kept = redis.call('HMGET', IDEMPOTENCY .. head.idempotency, 'id', 'fingerprint')
  if not kept[1] or redis.call('EXISTS', job_key(kept[1])) == 0 then return nil end
  if kept[1] == head.id then return nil end
  return {kept[2] == head.fingerprint and 'replay' or 'conflict', kept[1]}
end

local function remember(head)
  if not head.idempotency then return end
  local key = IDEMPOTENCY .. head.idempotency
  redis.call('HSET', key, 'id', head.id, 'fingerprint', head.fingerprint)
  redis.call('PEXPIRE', key, head.idempotency_ttl)
  redis.call('HSET', job_key(head.id), 'idempotency', head.idempotency)
end

-- A token bucket of one minute as GCRA (ITU-T I.371): `tat` is when the bucket will be full again.
-- Returns what is left, ms until one more fits (0: it fits now and is taken), ms until the bucket is full.
local function take(key, rpm, now)
  local interval = 60000 / rpm
  local tat = math.max(tonumber(redis.call('GET', key) or 0), now)
  local ahead = tat - now
  if ahead + interval > 60000.001 then return 0, math.ceil(ahead + interval - 60000), math.ceil(ahead) end
  redis.call('SET', key, string.format('%.3f', tat + interval), 'PX', math.ceil(ahead + interval))
  return math.floor((60000.001 - ahead - interval) / interval), 0, math.ceil(ahead + interval)
end

-- A full queue or share: refused with the time in which as many jobs as are too many will have ended.
local function full(kind, waiting, most, rate)
  local wait = rate > 0 and math.ceil((waiting - most + 1) / rate) or -1
  return {kind, waiting, wait}
end

local function crowded(head, waiting, now)
  local function rate() return is_paused(head.queue) and 0 or drain_rate(head.queue, now) end
  if waiting >= head.queue_max then return full('full', waiting, head.queue_max, rate()) end
  local own = tonumber(redis.call('HGET', SHARES .. head.queue, head.owner) or 0)
  -- Of the jobs that end, an owner's are as many as of those that wait.
  if own >= head.share then return full('share', own, head.share, rate() * own / math.max(own, waiting)) end
  return nil
end
