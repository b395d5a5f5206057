-- A job's events: a stream whose ids are the job's own sequence numbers, and a channel for those who watch now.

local function emit(id, kind, data)
  local seq, key = increase(job_key(id), 'seq', 1), EVENTS .. id
  local added = redis.pcall('XADD', key, 'MAXLEN', '~', EVENTS_KEPT, seq .. '-0', kind, data)
  if type(added) == 'table' then  -- no stream, or its numbers are ahead: somebody has spoilt it
    redis.call('UNLINK', key)
    if seq < 1 then
      seq = 1
      redis.call('HSET', job_key(id), 'seq', seq)
    end
    redis.call('XADD', key, seq .. '-0', kind, data)
  end
  redis.call('PUBLISH', WATCH .. id, seq .. ' ' .. kind .. ' ' .. data)
end

local function emit_status(id, status, attempt, now)
  emit(id, 'status', '{"status":"' .. status .. '","attempt":' .. attempt .. ',"at":"' .. iso(now) .. '"}')
end
