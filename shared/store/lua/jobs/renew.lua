-- Prolong leases, and say what the worker does. ARGV: queue, lease_ms, worker, host, pid, then id, token, …
-- Returns the ids whose lease is lost.
local queue, now, lost, running, missed = ARGV[1], now_ms(), {}, {}, 0
mind_the_gap(now)
for i = 6, #ARGV, 2 do
  local id, token = ARGV[i], ARGV[i + 1]
  local job = load(id)
  if job and job.status == 'running' and job.token == token then
    engine[queue].lease(job, token, now, tonumber(ARGV[2]))
    running[#running + 1] = id
  else
    lost[#lost + 1] = id
    -- A run that was cancelled, or has just written its outcome, has lost nothing.
    local f = redis.call('HMGET', job_key(id), 'stopped', 'done')
    if f[1] ~= token and f[2] ~= token then missed = missed + 1 end
  end
end
if missed > 0 then tally('lease_losses|' .. queue, missed) end
local key = WORKER .. ARGV[3]
redis.call('HSET', key, 'queue', queue, 'host', ARGV[4], 'pid', ARGV[5], 'at', now, 'running', table.concat(running, ' '))
redis.call('PEXPIRE', key, WORKER_KEPT_MS)
redis.call('ZADD', WORKERS .. queue, now, ARGV[3])
redis.call('ZREMRANGEBYSCORE', WORKERS .. queue, '-inf', now - WORKER_KEPT_MS)
return lost
