-- Write what became of an attempt, if its lease still holds. `attempt` is the failed one as a JSON object, `fields` are
-- field, value, … of the record.
-- Answers true if written (also by an earlier call with this token), false if the lease was lost.
local key, job = job_key(id), load_job(id)
local f = redis.call('HMGET', key, 'done', 'stopped')
if f[1] == token then return f[2] ~= token end
local holds = job and job.status == RUNNING and job.token == token
if not holds and f[2] ~= token then return false end
redis.call('HSET', key, 'done', token)

local function spend(field, kind, amount)
  if amount == 0 then return end
  redis.call('HINCRBY', key, field, amount)
  tally('usage|' .. job.task .. '|' .. kind, amount)
end

spend('usage_input', 'input_tokens', input_tokens)
spend('usage_output', 'output_tokens', output_tokens)
spend('usage_requests', 'requests', requests)
if not holds then return false end  -- it was cancelled meanwhile: what it cost still counts

local now = now_ms()
-- Somebody ran it: the count of those who don't know its task begins anew.
if ending ~= HAND_BACK then redis.call('DEL', UNKNOWN .. id) end
if ending == CRASH and crashed(job, true, now, ttl) then return true end
if attempt then record_attempt(id, attempt, now) end
if ending == SUCCEEDED then redis.call('HDEL', key, 'error') end
if fields[1] then redis.call('HSET', key, unpack(fields)) end
if LEGAL[RUNNING][ending] then
  finish_job(job, ending, token, now, ttl)
else
  local given_back = ending == HAND_BACK or ending == THROTTLED
  if given_back then redis.call('HINCRBY', key, 'attempt', -1) end
  if ending == THROTTLED then redis.call('HINCRBY', key, 'throttled', 1) end
  if ending == RETRY then tally('retries|' .. job.task .. '|' .. job.queue) end
  requeue(job, token, now, now + delay, given_back)
end
return true
