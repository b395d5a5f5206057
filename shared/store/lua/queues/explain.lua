-- Why a job waits, how many are served before it, and when it would start. It changes nothing but the limits' clock.
local now, job = now_ms(), load_job(id)
if not job then return false end
if not WAITING[job.status] then return Explained{status = job.status} end

local answer = {status = job.status}

local function is_ahead() return job.ready_at and tonumber(job.ready_at) > now end

local function explain_scheduled()
  local f = redis.call('HMGET', job_key(id), 'throttled', 'stopped')
  local was_tried = tonumber(job.attempt) > 0 or job.front or f[1] or f[2]
  answer.because, answer.ends = was_tried and RETRY or SCHEDULED, job.ready_at
  answer.estimated_start = job.ready_at
  if job.front and job.queue == LLM then estimates.look_at_lane(answer, job, 0, now) end  -- why it may have been given back
  if answer.because == 'limiter' then answer.ends = job.ready_at end
  if answer.is_down then answer.estimated_start = nil end  -- it is put back again and again, until somebody answers
end

local function explain_suspect(rank)
  estimates.look(answer, job, nil, now, concurrency.full_limit(job))
  answer.ahead = rank
  if answer.because == 'fair_order' then answer.kind = SUSPECT end
end

local function explain_due()
  local rank = job.queue == LLM and redis.call('ZRANK', SUSPECTS, id)
  if rank then return explain_suspect(rank) end
  local ahead = places.in_lane(job)
  if not ahead and redis.call('ZSCORE', LATER, id) then ahead = 0 end  -- its model is parked
  estimates.look(answer, job, ahead, now, concurrency.full_limit(job))
end

if is_ahead() then explain_scheduled() else explain_due() end
return Explained(answer)
