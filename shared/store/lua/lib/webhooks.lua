-- Deliveries, and how they take turns: by owner, and within an owner by the host that is called. All stand in one set by
-- due time, and those to an owner's host in a set of their own. An owner's hosts stand in a line, and so do the owners:
-- by when each has its next turn, so that a claim finds whom to serve without looking at the others.

-- What the record shows of its deliveries: a JSON object by their ids.
local function show_delivery(id, delivery)
  local kept = redis.call('HGET', job_key(id), 'deliveries')
  local all = decode(kept) or {}
  all[delivery.id] = delivery
  redis.call('HSET', job_key(id), 'deliveries', cjson.encode(all))
end

-- Host and port of a URL, in small letters and without a login.
local function host_of(url)
  local authority = string.match(url, '^%a[%w+.-]*://([^/?#]*)') or ''
  return string.lower(string.match(authority, '[^@]*$'))
end

local function lane_of(owner, host) return owner .. ':' .. host end

-- The first of a set, and its score.
local function first_of(key)
  local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  return first[1], tonumber(first[2])
end

-- In milliseconds too, and parts of them: turns of the same one have an order.
local function now_exactly()
  local t = redis.call('TIME')
  return t[1] * 1000 + t[2] / 1000
end

-- Let a member of a line have its next turn when something of it is due. Who has a turn now keeps it; who gets one comes
-- behind those who have waited for theirs.
local function set_turn(line, member, due, now)
  if not due then
    redis.call('ZREM', line, member)
    return
  end
  local turn = tonumber(redis.call('ZSCORE', line, member) or '')
  if not turn or turn > now then redis.call('ZADD', line, math.max(due, now), member) end
end

-- Something to an owner's host has changed. Returns whether something is due now.
local function line_up(owner, host)
  local now = now_exactly()
  local _, due = first_of(WEBHOOK_DUE .. lane_of(owner, host))
  set_turn(WEBHOOK_HOSTS .. owner, host, due, now)
  local _, turn = first_of(WEBHOOK_HOSTS .. owner)
  set_turn(WEBHOOK_OWNERS, owner, turn, now)
  return due and due <= now
end

-- Put a delivery where claims find it. One that is there is not put off.
local function enlist(owner, url, id, due)
  local host = host_of(url)
  redis.call('ZADD', WEBHOOK_DUE .. lane_of(owner, host), 'LT', due, id)
  line_up(owner, host)
end

-- A finished job's record has no TTL while somebody has to be told of it, so that no eviction takes what it tells. When
-- the last of its deliveries is over, it lives as long as it was to live from its end.
local function expire_when_told(id, now)
  local key = job_key(id)
  local f = redis.pcall('HMGET', key, 'status', 'keep_until', 'deliveries', 'payload_bytes', 'result_bytes')
  if not is_count(f[2]) or UNFINISHED[f[1]] then return end
  for delivery in pairs(decode(f[3]) or {}) do
    if redis.call('EXISTS', DELIVERY .. delivery) == 1 then return end
  end
  redis.call('HDEL', key, 'keep_until')
  local left = math.max(1, f[2] - now)
  redis.call('PEXPIRE', key, left)
  each_text({id = id, payload_bytes = f[4], result_bytes = f[5]}, 'PEXPIRE', left)
end

-- Whoever gave a URL is called back: a delivery of its own, in the queue of deliveries.
local function deliver(job, status, now, ttl)
  local delivery = job.id .. '-' .. increase(job_key(job.id), 'ends', 1)
  redis.call('HSET', DELIVERY .. delivery, 'id', delivery, 'job', job.id, 'owner', job.owner, 'url', job.webhook,
    'event', 'job.' .. status, 'at', now, 'attempt', 0)
  show_delivery(job.id, {id = delivery, event = 'job.' .. status, url = job.webhook, status = PENDING, attempt = 0,
    at = iso(now)})
  redis.call('ZADD', DELIVERIES, now, delivery)
  enlist(job.owner, job.webhook, delivery, now)
  redis.call('HSET', job_key(job.id), 'keep_until', whole(now + ttl))
  redis.call('PERSIST', job_key(job.id))
  each_text(job, 'PERSIST')
  wake(WEBHOOKS)
end
