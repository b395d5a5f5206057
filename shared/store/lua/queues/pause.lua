-- Pause or resume a queue.
if paused then
  redis.call('SADD', PAUSED, queue)
else
  redis.call('SREM', PAUSED, queue)
  for _ = 1, 20 do wake(queue) end
end
