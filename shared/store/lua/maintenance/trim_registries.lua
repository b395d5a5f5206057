-- Jobs whose records have run out leave the lists of failed ones and RQ's registries, whose scores say when.
-- Answers how many entries.
local now, trimmed = now_ms(), 0
for _, queue in ipairs(rq_queues()) do
  for _, status in ipairs({SUCCEEDED, FAILED, CANCELLED}) do
    trimmed = trimmed + redis.call('ZREMRANGEBYSCORE', RQ_REGISTRIES[status] .. queue, 1, now / 1000)
  end
end
for _, queue in ipairs({LLM, SYNC}) do
  trimmed = trimmed + redis.call('ZREMRANGEBYSCORE', FAILURES .. queue, '-inf', now)
end
return trimmed
