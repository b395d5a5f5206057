-- Write what became of an attempt, if its lease still holds.
-- ARGV: id, token, outcome (succeeded | failed | retry | hand_back | crash), delay_ms, ttl_ms,
--       failed attempt as a JSON object or '', input tokens, output tokens, requests,
--       then field, value, … of the record.
-- Returns 1 if written (also by an earlier call with this token), 0 if the lease was lost.
local id, token, outcome = ARGV[1], ARGV[2], ARGV[3]
local key = job_key(id)
local f = redis.call('HMGET', key, 'status', 'token', 'queue', 'done')
if f[4] == token then return 1 end
if f[1] ~= 'running' or f[2] ~= token then return 0 end
local queue, now = f[3], now_ms()
redis.call('HSET', key, 'done', token)
for i, field in ipairs({'usage_input', 'usage_output', 'usage_requests'}) do
  if ARGV[6 + i] ~= '0' then redis.call('HINCRBY', key, field, ARGV[6 + i]) end
end
if outcome == 'crash' and crashed(id, queue, token, now, tonumber(ARGV[5])) then return 1 end
if ARGV[6] ~= '' then record_attempt(id, ARGV[6], now) end
if outcome == 'succeeded' then redis.call('HDEL', key, 'error') end
if ARGV[10] then redis.call('HSET', key, unpack(ARGV, 10)) end
if LEGAL.running[outcome] then
  finish(id, queue, 'running', outcome, token, now, tonumber(ARGV[5]))
else
  if outcome == 'hand_back' then redis.call('HINCRBY', key, 'attempt', -1) end
  requeue(id, queue, 'running', token, now, now + tonumber(ARGV[4]), outcome == 'hand_back')
end
return 1
