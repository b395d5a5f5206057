-- Write what became of an attempt, if its lease still holds. `attempt` is the failed one as a JSON object, `fields` are
-- field, value, … of the record; `result_bytes` is the result's length before it was compressed.
-- Answers true if written (also by an earlier call with this token), false if the lease was lost.
local now, key, job = now_ms(), job_key(id), load_job(id, TO_FINISH)
local used = (input_tokens or 0) + (output_tokens or 0)

-- A job of the asyncio pool that was cancelled and erased: its owner pays for what its run has used.
local function settle_erased()
  local f = redis.call('HMGET', ERASED .. id, 'token', 'owner', 'priority', 'lane', 'charged', 'weight', 'task')
  if f[1] ~= token then return end
  redis.call('DEL', ERASED .. id)
  local erased = {id = id, queue = LLM, owner = f[2], priority = f[3], lane = f[4], charged = f[5],
    weight = f[6], task = f[7], apart = f[7]}
  lanes.settle(erased, used, used == 0)
end

if not job then
  settle_erased()
  return false
end
-- Others may have run it since: an answer gets lost, and the call comes again when its job is long at work elsewhere.
if has_token(job.done, token) then return true end
if has_token(job.spent, token) then return false end
local holds = job.status == RUNNING and job.token == token
local ends = holds and LEGAL[RUNNING][ending]
if ends then  -- with all else that the record gets then
  fields[#fields + 1], fields[#fields + 2] = 'done', with_token(job.done, token)
  if result then keep_text(job, 'result', result, result_bytes, fields) end
elseif holds then
  redis.call('HSET', key, 'done', with_token(job.done, token))
else
  redis.call('HSET', key, 'spent', with_token(job.spent, token))
end

-- Also of a run that was cancelled or has lost its lease: what it cost counts.
local function spend(field, kind, amount)
  amount = math.floor(math.min(amount or 0, MOST_USAGE))
  if amount <= 0 then return end
  increase(key, field, amount)
  tally('usage|' .. task_of(job) .. '|' .. kind, amount)
end

spend('usage_input', 'input_tokens', input_tokens)
spend('usage_output', 'output_tokens', output_tokens)
spend('usage_requests', 'requests', requests)
spend('usage_estimated', 'estimated_tokens', estimated_tokens)
local waits_again = holds and not ends
if job.queue == LLM and (holds or job.stopped == token) then  -- or of a run that was cancelled
  lanes.settle(job, used, waits_again or used == 0)
elseif job.queue == SYNC and holds then
  local took = durations.settle(job, now, waits_again)
  if took and (ends or ending == RETRY) then durations.learn(job, took) end
end
if not holds then
  -- A retry has waited for the end of the run that was cancelled.
  if job.stopped == token and job.status == SCHEDULED and not job.started_at then
    engine[job.queue].unschedule(job)
    requeue(job, nil, now, now)
  end
  return false
end

-- Somebody knows its task, also where it only waits: the count of those who don't begins anew.
if ending ~= TASK_UNKNOWN then redis.call('DEL', UNKNOWN .. id) end
if (ending == CRASH or ending == LOSS) and crashed(job, ending == CRASH, now, ttl) then return true end
if attempt then record_attempt(id, attempt, now) end
if ends then
  finish_job(job, ending, token, now, ttl, fields)
else
  if fields[1] then redis.call('HSET', key, unpack(fields)) end
  local given_back = ending == HAND_BACK or ending == THROTTLED
  local not_begun = ending == NOT_BEGUN or ending == TASK_UNKNOWN
  if given_back then take_attempt_off(job) end
  if not_begun then unbegin(job) end
  if ending == THROTTLED then increase(key, 'throttled', 1) end
  if ending == RETRY then tally('retries|' .. label_of(job)) end
  requeue(job, token, now, now + math.min(delay, LONGEST_DELAY_MS), given_back or not_begun or ending == LOSS)
end
return true
