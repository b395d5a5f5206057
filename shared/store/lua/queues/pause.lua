-- Pause or resume a queue. ARGV: queue, '1' or '0'.
if ARGV[2] == '1' then
  redis.call('SADD', PAUSED, ARGV[1])
else
  redis.call('SREM', PAUSED, ARGV[1])
  for _ = 1, 20 do ring(ARGV[1]) end
end
return 1
