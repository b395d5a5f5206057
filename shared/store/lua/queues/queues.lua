-- What a queue holds and who works on it. ARGV: queue. Returns
-- {waiting, scheduled, running, failed, ms since the oldest waiting one was due or -1, ended in the last minute
--  per minute as text, paused, {{worker, host, pid, ms since its heartbeat, running ids}, …}}.
local queue, now = ARGV[1], now_ms()
local workers = {}
local pool = queue == 'webhooks' and 'llm' or queue
for _, id in ipairs(redis.call('ZRANGE', WORKERS .. pool, 0, -1)) do
  local f = redis.call('HMGET', WORKER .. id, 'host', 'pid', 'at', 'running')
  if f[1] then workers[#workers + 1] = {id, f[1], f[2], now - f[3], pool == queue and f[4] or ''} end
end
local paused = is_paused(queue) and 1 or 0
local rate = string.format('%.2f', drain_rate(queue, now) * 60000)
if queue == 'webhooks' then
  local waiting = redis.call('ZCOUNT', DELIVERIES, '-inf', now)
  local head = redis.call('ZRANGE', DELIVERIES, 0, 0, 'WITHSCORES')
  local age = head[2] and tonumber(head[2]) <= now and now - head[2] or -1
  return {waiting, redis.call('ZCARD', DELIVERIES) - waiting, 0, 0, age, rate, paused, workers}
end
local oldest
local function look(id)
  local ready = id and redis.call('HGET', job_key(id), 'ready_at')
  if ready and tonumber(ready) <= now and (not oldest or tonumber(ready) < oldest) then oldest = tonumber(ready) end
end
if queue == 'llm' then
  for _, key in pairs(ARQ) do look(redis.call('ZRANGEBYSCORE', key, '-inf', now, 'LIMIT', 0, 1)[1]) end
else
  for _, name in ipairs(rq_queues()) do look(redis.call('LINDEX', 'rq:queue:' .. name, 0)) end
end
local f = redis.call('HMGET', COUNTS .. queue, 'queued', 'scheduled', 'running')
return {tonumber(f[1] or 0), tonumber(f[2] or 0), tonumber(f[3] or 0), redis.call('ZCOUNT', FAILED .. queue, now, '+inf'),
  oldest and now - oldest or -1, rate, paused, workers}
