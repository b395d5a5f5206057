-- Write what became of a webhook's delivery. ARGV: id, token, status (delivered | failed | pending), delay_ms,
-- body (kept for the next try), HTTP status or '', what went wrong or ''.
-- Returns 1, or 0 if somebody else has claimed it meanwhile.
local key, now = DELIVERY .. ARGV[1], now_ms()
local f = redis.call('HMGET', key, 'token', 'job', 'event', 'url', 'attempt', 'at')
if f[1] ~= ARGV[2] then return 0 end
local due = now + tonumber(ARGV[4])
local shown = {id = ARGV[1], event = f[3], url = f[4], status = ARGV[3], attempt = tonumber(f[5]), at = iso(f[6])}
if ARGV[6] ~= '' then shown.response_status = tonumber(ARGV[6]) end
if ARGV[7] ~= '' then shown.error = ARGV[7] end
if ARGV[3] == 'pending' then
  redis.call('HSET', key, 'body', ARGV[5])
  redis.call('ZADD', DELIVERIES, due, ARGV[1])
  shown.next_at = iso(due)
else
  redis.call('ZREM', DELIVERIES, ARGV[1])
  redis.call('DEL', key)
end
count_end('webhooks', now)
tally('deliveries|' .. ARGV[3])
if redis.call('EXISTS', job_key(f[2])) == 1 then show_delivery(f[2], shown) end
return 1
