-- What a queue holds and who works on it.
local now, MOST_WORKERS = now_ms(), 200

local workers = {}
local function add_live(pool, serves)
  for _, id in ipairs(redis.call('ZRANGE', WORKERS .. pool, -MOST_WORKERS, -1)) do
    local f = redis.pcall('HMGET', WORKER .. id, 'host', 'pid', 'at', 'running')
    if f[1] and is_count(f[2]) and is_count(f[3]) then
      workers[#workers + 1] = WorkerState{id = id, host = f[1], pid = f[2], heartbeat_age = now - f[3],
        runs = serves and f[4] or ''}
    end
  end
end
add_live(queue, true)
if queue == WEBHOOKS then add_live(LLM, false) end  -- they deliver beside their jobs

local rate = math.floor(drain_rate(queue, now) * 6000000 + 0.5) / 100  -- two decimals are enough to look at
local state = {name = queue, paused = is_paused(queue), rate_per_minute = rate, workers = workers}

if queue == WEBHOOKS then
  local head = redis.call('ZRANGE', DELIVERIES, 0, 0, 'WITHSCORES')
  state.waiting = redis.call('ZCOUNT', DELIVERIES, '-inf', now)
  state.scheduled, state.running, state.failed = redis.call('ZCARD', DELIVERIES) - state.waiting, 0, 0
  state.oldest_age = head[2] and tonumber(head[2]) <= now and now - head[2]
  return QueueState(state)
end

local oldest
local function look_at(id)
  local ready = id and (peek('HGET', job_key(id), 'ready_at') or peek('HGET', job_key(id), 'created_at'))
  if is_count(ready) and tonumber(ready) <= now and (not oldest or tonumber(ready) < oldest) then oldest = tonumber(ready) end
end
if queue == LLM then
  for _, key in pairs(ARQ_QUEUES) do look_at(redis.call('ZRANGE', key, 0, 0)[1]) end
else
  for _, name in ipairs(rq_queues()) do look_at(redis.call('ZRANGE', WAITING_IN .. name, 0, 0)[1]) end
end
local f = redis.call('HMGET', COUNTS .. queue, QUEUED, SCHEDULED, RUNNING)
state.waiting, state.scheduled, state.running = tonumber(f[1]) or 0, tonumber(f[2]) or 0, tonumber(f[3]) or 0
state.failed = redis.call('ZCOUNT', FAILURES .. queue, now, '+inf')
state.oldest_age = oldest and now - oldest
return QueueState(state)
