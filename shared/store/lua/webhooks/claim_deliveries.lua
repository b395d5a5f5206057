-- Claim due webhook deliveries: one of each owner in turn, and of an owner one to each host in turn. `claim` names the
-- call.
local now, claimed = now_ms(), {}
if is_paused(WEBHOOKS) then return Due{deliveries = {}} end

-- Who is alone may have more tries at once, but leaves room: somebody else may come.
local function in_line(key) return redis.call('ZCOUNT', key, '-inf', now + lease) end
local is_alone = in_line(WEBHOOK_OWNERS) == 1
local tries_of_owner = is_alone and math.max(TRIES_OF_OWNER, math.floor(places / 2)) or TRIES_OF_OWNER
local tries_of_host = is_alone and math.max(TRIES_OF_HOST, math.floor(places / 4)) or TRIES_OF_HOST

local turn = now_exactly()  -- goes on by a microsecond, so that each comes behind the one before it
local function first_due(key) return redis.call('ZRANGEBYSCORE', key, '-inf', turn, 'LIMIT', 0, 1)[1] end

-- Whether one more may be tried. The places of a process that died come back when its leases end.
local function has_place(tries, most)
  redis.call('ZREMRANGEBYSCORE', tries, '-inf', now)
  return redis.call('ZCARD', tries) < most
end

-- To the end of the line, until something of `below` is due and there is a place for it.
local function line_up_behind(line, member, below, tries, most)
  local _, due = first_of(below)
  if not due then
    redis.call('ZREM', line, member)
    return
  end
  if not has_place(tries, most) then
    local _, lease_end = first_of(tries)
    due = math.max(due, lease_end)
  end
  redis.call('ZADD', line, math.max(due, turn), member)
end

local function hold_place(tries, id)
  redis.call('ZADD', tries, now + lease, id)
  redis.call('PEXPIRE', tries, lease)
end

local function try(id, owner, lane)
  local key = DELIVERY .. id
  local f = redis.pcall('HMGET', key, 'job', 'event', 'url', 'at', 'body')
  if not (f[1] and f[2] and f[3] and f[4] and is_count(f[4])) then
    redis.call('ZREM', DELIVERIES, id)
    redis.call('ZREM', WEBHOOK_DUE .. lane, id)
    redis.call('DEL', key)
    return
  end
  local due = tonumber(redis.call('ZSCORE', DELIVERIES, id) or now)
  if due > now then  -- a process of an older version, which knows no turns, has claimed it or put it off
    redis.call('ZADD', WEBHOOK_DUE .. lane, due, id)
    return
  end
  local token = new_token(claim)
  local attempt = increase(key, 'attempt', 1)
  redis.call('HSET', key, 'token', token)
  redis.call('ZADD', DELIVERIES, now + lease, id)
  redis.call('ZADD', WEBHOOK_DUE .. lane, now + lease, id)
  hold_place(WEBHOOK_TRIES .. owner, id)
  hold_place(WEBHOOK_TRIES .. lane, id)
  claimed[#claimed + 1] = Delivery{id = id, job = f[1], event = f[2], url = f[3], at = f[4], attempt = attempt,
    body = f[5] or '', token = token}
end

local function serve_host(owner, host)
  local lane = lane_of(owner, host)
  local due, tries = WEBHOOK_DUE .. lane, WEBHOOK_TRIES .. lane
  local id = has_place(tries, tries_of_host) and first_due(due)
  if id then try(id, owner, lane) end
  line_up_behind(WEBHOOK_HOSTS .. owner, host, due, tries, tries_of_host)
end

local function serve_owner(owner)
  local hosts, tries = WEBHOOK_HOSTS .. owner, WEBHOOK_TRIES .. owner
  local host = has_place(tries, tries_of_owner) and first_due(hosts)
  if host then serve_host(owner, host) end
  line_up_behind(WEBHOOK_OWNERS, owner, hosts, tries, tries_of_owner)
end

for _ = 1, limit + STEP do
  local owner = #claimed < limit and first_due(WEBHOOK_OWNERS)
  if not owner then break end
  turn = turn + 0.001
  serve_owner(owner)
end
if #claimed < limit then redis.call('DEL', WAKEUP .. WEBHOOKS) end
local _, next_turn = first_of(WEBHOOK_OWNERS)
return Due{deliveries = claimed, next_due = next_turn and math.ceil(math.max(0, next_turn - now))}
