-- A job's events: a stream whose ids are the job's own sequence numbers, and a channel for those who watch now.

local function emit(id, kind, data)
  local seq = redis.call('HINCRBY', job_key(id), 'seq', 1)
  redis.call('XADD', EVENTS .. id, 'MAXLEN', '~', EVENTS_KEPT, seq .. '-0', kind, data)
  redis.call('PUBLISH', WATCH .. id, seq .. ' ' .. kind .. ' ' .. data)
end

local function emit_status(id, status, attempt, now)
  emit(id, 'status', '{"status":"' .. status .. '","attempt":' .. attempt .. ',"at":"' .. iso(now) .. '"}')
end
