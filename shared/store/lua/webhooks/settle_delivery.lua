-- Write what became of a webhook's delivery; `body` is kept for the next try, `problem` is what went wrong.
-- Answers false if somebody else has claimed it meanwhile.
local key, now = DELIVERY .. id, now_ms()
local f = redis.call('HMGET', key, 'token', 'job', 'event', 'url', 'attempt', 'at', 'owner')
if f[1] ~= token then return false end
local owner, host = f[7] or '', host_of(f[4])
local lane, due = lane_of(owner, host), now + delay
local shown = {id = id, event = f[3], url = f[4], status = outcome, attempt = tonumber(f[5]), at = iso(f[6]),
  response_status = response_status, error = problem}
if outcome == PENDING then
  redis.call('HSET', key, 'body', body)
  redis.call('ZADD', DELIVERIES, due, id)
  redis.call('ZADD', WEBHOOK_DUE .. lane, due, id)
  shown.next_at = iso(due)
else
  redis.call('ZREM', DELIVERIES, id)
  redis.call('ZREM', WEBHOOK_DUE .. lane, id)
  redis.call('DEL', key)
end
redis.call('ZREM', WEBHOOK_TRIES .. owner, id)
redis.call('ZREM', WEBHOOK_TRIES .. lane, id)
if line_up(owner, host) then wake(WEBHOOKS) end  -- for the place that is free
count_end(WEBHOOKS, now)
tally('deliveries|' .. outcome)
if redis.call('EXISTS', job_key(f[2])) == 1 then show_delivery(f[2], shown) end
expire_when_told(f[2], now)
return true
