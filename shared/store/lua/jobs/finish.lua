-- Write what became of an attempt, if its lease still holds.
-- ARGV: id, token, outcome (succeeded | failed | retry | hand_back | throttled | crash), delay_ms, ttl_ms,
--       failed attempt as a JSON object or '', input tokens, output tokens, requests,
--       then field, value, … of the record.
-- Returns 1 if written (also by an earlier call with this token), 0 if the lease was lost.
local id, token, outcome = ARGV[1], ARGV[2], ARGV[3]
local key, job = job_key(id), load(id)
local f = redis.call('HMGET', key, 'done', 'stopped')
if f[1] == token then return f[2] == token and 0 or 1 end
local holds = job and job.status == 'running' and job.token == token
if not holds and f[2] ~= token then return 0 end
redis.call('HSET', key, 'done', token)
local KINDS = {'input_tokens', 'output_tokens', 'requests'}
for i, field in ipairs({'usage_input', 'usage_output', 'usage_requests'}) do
  local spent = tonumber(ARGV[6 + i])
  if spent > 0 then
    redis.call('HINCRBY', key, field, spent)
    tally('usage|' .. job.task .. '|' .. KINDS[i], spent)
  end
end
if not holds then return 0 end  -- it was cancelled meanwhile: what it cost still counts

local now, ttl = now_ms(), tonumber(ARGV[5])
if outcome == 'crash' and crashed(job, true, now, ttl) then return 1 end
if ARGV[6] ~= '' then record_attempt(id, ARGV[6], now) end
if outcome == 'succeeded' then redis.call('HDEL', key, 'error') end
if ARGV[10] then redis.call('HSET', key, unpack(ARGV, 10)) end
if LEGAL.running[outcome] then
  finish(job, outcome, token, now, ttl)
else
  local given_back = outcome == 'hand_back' or outcome == 'throttled'
  if given_back then redis.call('HINCRBY', key, 'attempt', -1) end
  if outcome == 'throttled' then redis.call('HINCRBY', key, 'throttled', 1) end
  if outcome == 'retry' then tally('retries|' .. job.task .. '|' .. job.queue) end
  requeue(job, token, now, now + tonumber(ARGV[4]), given_back)
end
return 1
