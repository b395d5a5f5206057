-- Prolong leases. ARGV: queue, lease_ms, then id, token, … Returns the ids whose lease is lost.
local now, lost = now_ms(), {}
if ARGV[1] == 'llm' then after_a_gap('llm', LEASES, 1, now) end
for i = 3, #ARGV, 2 do
  local id, token = ARGV[i], ARGV[i + 1]
  local f = redis.call('HMGET', job_key(id), 'status', 'token')
  if f[1] == 'running' and f[2] == token then
    engine[ARGV[1]].lease(id, token, now, tonumber(ARGV[2]))
  else
    lost[#lost + 1] = id
  end
end
return lost
