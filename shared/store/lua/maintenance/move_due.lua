-- Sync jobs whose time has come go to their queue. Answers how many.
local now, moved, left = now_ms(), 0, STEP

local function move(id, queue)
  redis.call('ZREM', RQ_SCHEDULED .. queue, id)
  local job = load_job(id)
  if job and job.status == SCHEDULED then
    requeue(job, nil, now, now)
    return 1
  end
  local is_foreign = not job or job.native == 'rq' and not UNFINISHED[job.status]
  if is_foreign and redis.call('EXISTS', RQ_JOB .. id) == 1 then
    -- RQ's own scheduled registry: a job that is adopted when it is claimed.
    redis.call('RPUSH', RQ_QUEUE .. queue, id)
    wake(SYNC)
    return 1
  end
  return 0
end

for _, queue in ipairs(rq_queues()) do
  local due = redis.call('ZRANGEBYSCORE', RQ_SCHEDULED .. queue, '-inf', now / 1000, 'LIMIT', 0, left)
  left = left - #due
  for _, id in ipairs(due) do
    if moved == MOVED_AT_ONCE then break end
    moved = moved + move(id, queue)
  end
end
return moved
