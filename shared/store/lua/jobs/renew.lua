-- Prolong leases, and say what the worker does; of a worker that holds many, `first` says whether this call begins a
-- round. Answers the ids whose lease is lost.
local now, lost, running, missed, losses = now_ms(), {}, {}, {}, 0
local key = WORKER .. worker
-- The tokens of lost leases in its last round: a loss that its run has not heard of yet is counted once.
local before = peek('HGET', key, first and 'missed' or 'before') or ''
local counted = ' ' .. before .. ' '
extend_leases_after_outage(now)
local _, unheard = last_claim(worker)
for _, mine in ipairs(held) do
  local job = load_job(mine.id)
  if job and job.status == RUNNING and job.token == mine.token then
    engine[queue].lease(job, mine.token, now, lease)
    running[#running + 1] = mine.id
    if unheard and number_of(mine.token) > unheard then
      redis.call('DEL', ASKED .. worker)
      unheard = nil
    end
  else
    local f = redis.pcall('HMGET', job_key(mine.id), 'stopped', 'done')
    -- A run that was cancelled, or has just written its outcome, has lost nothing. The latter ends by itself, but for
    -- a process that hangs after it.
    local has_ended = has_token(f[2], mine.token)
    if not has_ended or queue == SYNC then lost[#lost + 1] = mine.id end
    if not has_ended and f[1] ~= mine.token then
      missed[#missed + 1] = mine.token
      if not string.find(counted, ' ' .. mine.token .. ' ', 1, true) then losses = losses + 1 end
    end
  end
end
if losses > 0 then tally('lease_losses|' .. queue, losses) end
if not first then  -- after those of the calls before
  table.insert(running, 1, peek('HGET', key, 'running') or nil)
  table.insert(missed, 1, peek('HGET', key, 'missed') or nil)
end
redis.call('HSET', key, 'queue', queue, 'host', host, 'pid', pid, 'at', now, 'running', table.concat(running, ' '),
  'missed', table.concat(missed, ' '), 'before', before)
redis.call('PEXPIRE', key, WORKER_KEPT_MS)
redis.call('ZADD', WORKERS .. queue, now, worker)
redis.call('ZREMRANGEBYSCORE', WORKERS .. queue, '-inf', now - WORKER_KEPT_MS)
return lost
