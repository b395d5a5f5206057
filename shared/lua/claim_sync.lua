-- Claim the next job of the forking pool.
-- ARGV: worker, lease_ms, ttl_ms. Returns {leases (none or one), ids that are not ours}.
local now = now_ms()
local unknown = {}
while true do
  local id = redis.call('LPOP', 'rq:queue:sync')
  if not id then return {{}, unknown} end
  local lease, why = claim(id, 'sync', ARGV[1], now, tonumber(ARGV[2]), tonumber(ARGV[3]))
  if lease then return {{lease}, unknown} end
  if why == 'unknown' then
    -- Not in the job book: keep it where its owner sees it.
    redis.call('ZADD', 'rq:failed:sync', -1, id)  -- RQ's "for ever"
    unknown[#unknown + 1] = id
  end
end
