-- One step of the clock: due sync jobs to their queue, sync jobs of dead workers back or fenced off, expired
-- jobs ended, dead entries out of the indexes and RQ's lists of workers. Bounded, so that a step blocks nobody; the
-- clock comes again.
-- ARGV: ttl_ms. Returns {moved, reaped, expired, trimmed}.
local now, ttl, STEP = now_ms(), tonumber(ARGV[1]), 200
local moved, reaped, expired, trimmed = 0, 0, 0, 0

-- RQ lists its workers by name, and a killed one stays in the lists when its key has run out.
local function drop_dead_workers(list)
  for _, worker in ipairs(redis.call('SMEMBERS', list)) do
    if redis.call('EXISTS', worker) == 0 then redis.call('SREM', list, worker) end
  end
end

drop_dead_workers('rq:workers')
mind_the_gap(now)
for _, queue in ipairs(rq_queues()) do
  drop_dead_workers('rq:workers:' .. queue)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', 'rq:scheduled:' .. queue, '-inf', now / 1000, 'LIMIT', 0, STEP)) do
    redis.call('ZREM', 'rq:scheduled:' .. queue, id)
    local job = load(id)
    if job and job.status == 'scheduled' then
      requeue(job, nil, now, now)
      moved = moved + 1
    elseif (not job or job.native == 'rq' and not UNFINISHED[job.status]) and redis.call('EXISTS', 'rq:job:' .. id) == 1 then
      -- RQ's own scheduled registry: a job that is adopted when it is claimed.
      redis.call('RPUSH', 'rq:queue:' .. queue, id)
      ring('sync')
      moved = moved + 1
    end
  end
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', 'rq:wip:' .. queue, '-inf', now / 1000, 'LIMIT', 0, STEP)) do
    local id, token = string.match(member, '^(.*):([^:]*)$')
    local job = id and load(id)
    if job then redis.call('ZREM', 'rq:wip:' .. queue, member) end
    if job and job.status == 'running' and job.token == token then
      if not crashed(job, false, now, ttl) then requeue(job, token, now, now, true) end
      reaped = reaped + 1
    end
  end
  for _, registry in ipairs({'finished', 'failed', 'canceled'}) do
    redis.call('ZREMRANGEBYSCORE', 'rq:' .. registry .. ':' .. queue, 1, now / 1000)
  end
end
for _, member in ipairs(redis.call('ZRANGEBYSCORE', ADOPTING, '-inf', now, 'LIMIT', 0, STEP)) do
  local name, id = string.match(member, '^([^ ]*) (.*)$')
  redis.call('ZREM', ADOPTING, member)
  redis.call('LPUSH', 'rq:queue:' .. name, id)
end
local began = os.clock()
for _, id in ipairs(redis.call('ZRANGEBYSCORE', EXPIRING, '-inf', now, 'LIMIT', 0, STEP)) do
  -- To search a long list for one of its last ids takes milliseconds.
  if os.clock() - began > 0.025 then break end
  redis.call('ZREM', EXPIRING, id)
  local job = load(id)
  if job and WAITING[job.status] and has_expired(job, now) then
    finish(job, 'expired', nil, now, ttl)
    expired = expired + 1
  end
end
for _, queue in ipairs({'llm', 'sync'}) do redis.call('ZREMRANGEBYSCORE', FAILED .. queue, '-inf', now) end
if not redis.call('SET', TRIMMED, now, 'NX', 'PX', 60000) then return {moved, reaped, expired, trimmed} end
local indexes = {INDEX}
for _, owner in ipairs(redis.call('SMEMBERS', OWNERS)) do indexes[#indexes + 1] = INDEX .. ':' .. owner end
for _, index in ipairs(indexes) do
  -- A stretch of what is old enough, another one each time: jobs that live on must not hide the dead behind them.
  local old = redis.call('ZCOUNT', index, '-inf', now - ttl)
  local start = old > STEP and now % (old - STEP + 1) or 0
  for _, id in ipairs(redis.call('ZRANGE', index, start, start + STEP - 1)) do
    if redis.call('EXISTS', job_key(id)) == 0 then trimmed = trimmed + redis.call('ZREM', index, id) end
  end
end
if trimmed >= STEP then redis.call('DEL', TRIMMED) end  -- there are more: go on with the next step
return {moved, reaped, expired, trimmed}
