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

-- Whoever gave a URL is called back: a delivery of its own, in the queue of deliveries.
local function deliver(job, status, now)
  local delivery = job.id .. '-' .. increase(job_key(job.id), 'ends', 1)
  redis.call('HSET', DELIVERY .. delivery, 'id', delivery, 'job', job.id, 'owner', job.owner, 'url', job.webhook,
    'event', 'job.' .. status, 'at', now, 'attempt', 0)
  show_delivery(job.id, {id = delivery, event = 'job.' .. status, url = job.webhook, status = PENDING, attempt = 0,
    at = iso(now)})
  redis.call('ZADD', DELIVERIES, now, delivery)
  enlist(job.owner, job.webhook, delivery, now)
  wake(WEBHOOKS)
end
