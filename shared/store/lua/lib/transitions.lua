-- The transitions. Each changes the record, the engine's projection, the counters and the events together.

-- The locks that a run holds end with it.
local function release_locks(job)
  for name in string.gmatch(job.locks or '', '[^\n]+') do
    if peek('HGET', LOCK .. name, 'id') == job.id then redis.call('DEL', LOCK .. name) end
  end
end

-- What the record says only as long as a job runs, or as long as it may run again.
local OF_A_RUN = {'token', 'worker', 'run_at', 'appended', 'locks', 'counted'}
local OF_ANY_RUN = {'token', 'worker', 'run_at', 'appended', 'locks', 'counted', 'error', 'lane', 'charged', 'ready_at'}

-- The end of a job: final status, TTL, no queue entry, and whoever waits is told. `changes` are field, value, … that the
-- record gets with it.
local function finish_job(job, status, token, now, ttl, changes)
  local key = job_key(job.id)
  -- An Idempotency-Key leads to its job as long as it lives.
  if job.idempotency then ttl = math.max(ttl, redis.call('PTTL', IDEMPOTENCY .. job.idempotency)) end
  local fields = {'status', status, 'finished_at', now, log_transition(job, status, now)}
  for _, item in ipairs(changes or {}) do fields[#fields + 1] = item end
  redis.call('HSET', key, unpack(fields))
  redis.call('HDEL', key, unpack(status == SUCCEEDED and OF_ANY_RUN or OF_A_RUN))
  release_locks(job)
  if job.sent then redis.call('PEXPIRE', SENT .. job.id, ttl) end
  engine[job.queue].finish(job, token, status, now, ttl)
  concurrency.release(job)
  count(job, job.status, status)
  count_end(job.queue, now)
  if job.expires_at then redis.call('ZREM', EXPIRING, job.id) end
  if status == FAILED then redis.call('ZADD', FAILURES .. job.queue, now + ttl, job.id) end
  tally('jobs|' .. label_of(job) .. '|' .. status)
  if job.status == RUNNING and job.started_at then observe('run', job, now - job.started_at) end
  redis.call('PEXPIRE', key, ttl)
  redis.call('PEXPIRE', EVENTS .. job.id, ttl)
  each_text(job, 'PEXPIRE', ttl)
  if job.webhook then deliver(job, status, now, ttl) end
end

-- Back to the waiting ones, due at `due`; `front`: before those that came later.
local function requeue(job, token, now, due, front)
  local key, status = job_key(job.id), due > now and SCHEDULED or QUEUED
  local changes = {'status', status, 'ready_at', math.max(due, now), log_transition(job, status, now)}
  local function set(field, value) changes[#changes + 1], changes[#changes + 2] = field, value end
  if job.status == RUNNING and job.started_at then set('begun', 1) end
  if front and (due <= now or job.queue == LLM) then
    job.front = '1'
    set('front', 1)
  end
  if not job.apart and job.counted and concurrency.is_of_task(job) then
    job.apart = '1'
    set('apart', 1)
  end
  redis.call('HDEL', key, unpack(OF_A_RUN))
  if due > now then set('run_at', due) end
  redis.call('HSET', key, unpack(changes))
  bound_transitions(job.id)
  release_locks(job)
  engine[job.queue].release(job, token)
  engine[job.queue].enqueue(job, due, now, front)
  concurrency.release(job)
  count(job, job.status, status)
  job.status = status
  if due <= now + 1000 then wake(job.queue) end  -- later ones are seen by the idle poll
end

-- A run of a job is none that counts.
local function take_attempt_off(job) job.attempt = increase(job_key(job.id), 'attempt', -1) end

-- `entry` is a JSON object without its time.
local function record_attempt(id, entry, now)
  local entries = redis.call('HGET', job_key(id), 'attempts')
  entry = string.sub(entry, 1, -2) .. ',"at":' .. whole(now) .. '}'
  redis.call('HSET', job_key(id), 'attempts', entries and (entries .. ',' .. entry) or entry)
end

local WORKER_CRASH = {type = 'worker_crash', message = 'its process died or lost its lease', retryable = true}
local CRASH_LOOP = {type = 'crash_loop', message = 'the job killed its process ' .. MAX_CRASHES .. ' times, or its worker '
  .. MAX_LOSSES .. ' times', retryable = false}

-- Count a crash. Only a process of its own (a horse, a suspect's) that dies while its worker lives convicts the job:
-- the third is one too many. A worker that dies convicts nobody, as workers are killed for many reasons. In the
-- asyncio pool two such crashes make a suspect, which then runs in a process of its own. What is lost with its worker
-- again and again is given up in the end, so that nothing goes on for ever.
local function counts_out(job, alone)
  local key = job_key(job.id)
  if alone or (job.queue == LLM and not is_suspect(job)) then
    job.crashes = increase(key, 'crashes', 1)
    return job.crashes >= MAX_CRASHES
  end
  return increase(key, 'losses', 1) >= MAX_LOSSES
end

-- The process of a running job died. True if that was one crash too many, and the job is failed.
local function crashed(job, alone, now, ttl)
  local key = job_key(job.id)
  record_attempt(job.id, cjson.encode({attempt = tonumber(job.attempt), type = WORKER_CRASH.type, message = WORKER_CRASH.message}), now)
  tally('crashes|' .. label_of(job))
  local out = counts_out(job, alone)
  redis.call('HSET', key, 'error', cjson.encode(out and CRASH_LOOP or WORKER_CRASH))
  if out then finish_job(job, FAILED, job.token, now, ttl) end
  return out
end

-- Redis's clock went back by `last - now`. What was due, or a lease, by the clock as it was is so by the clock as it is,
-- and in the same order; later times are dates, and stay. All at once: who comes later must not find a half of it.
local function follow_clock_back(now, last)
  local function follow(key, unit)
    local moved = redis.call('ZRANGEBYSCORE', key, string.format('(%.3f', now / unit), (last + LEASE_MS) / unit, 'WITHSCORES')
    for i = 1, #moved, 2 do redis.call('ZADD', key, tonumber(moved[i + 1]) - (last - now) / unit, moved[i]) end
  end
  for _, key in ipairs({LEASES, SUSPECTS, LATER, LANES, IDLE_LANES, ADOPTING, DELIVERIES, ASIDE_LIMITS}) do follow(key, 1) end
  for _, queue in ipairs(rq_queues()) do
    follow(RQ_WIP .. queue, 1000)
    follow(RQ_SCHEDULED .. queue, 1000)
  end
end

local function extend(key, unit, now)
  local least = (now + REPRIEVE_MS) / unit
  local members, changes = redis.call('ZRANGEBYSCORE', key, '-inf', least), {}
  for i, member in ipairs(members) do
    changes[#changes + 1], changes[#changes + 2] = least, member
    if #changes == 2 * STEP or i == #members then
      redis.call('ZADD', key, unpack(changes))
      changes = {}
    end
  end
end

-- Leases end by Redis's clock, which runs on while Redis is away and nobody can renew. After a gap in which nobody
-- called, of whatever pool, all leases last a little longer: their holders renew them, or are dead indeed.
local function extend_leases_after_outage(now)
  local last = tonumber(redis.call('GET', SEEN))
  redis.call('SET', SEEN, now)
  if last and last - now > CLOCK_JUMP_MS then follow_clock_back(now, last) end
  if not last or now - last < GAP_MS then return end
  redis.call('SET', OUTAGE, (redis.call('GET', FENCE) or 0) .. ' ' .. whole(now), 'PX', ASKED_KEPT_MS)
  extend(LEASES, 1, now)
  for _, queue in ipairs(rq_queues()) do extend(RQ_WIP .. queue, 1000, now) end
end

local NOT_IN_TIME = '{"type": "not_begun_in_time", "message": "it did not begin within its expires_in", "retryable": false}'
local TOO_OLD = '{"type": "too_old", "message": "it was due longer ago than TANDEM_MAX_AGE allows", "retryable": false}'

-- How a waiting job ends whose time is over, and why; nil if it is not. `expires_in` is for what has never begun, as
-- one that was handed back began in time; the greatest age is for any.
local function overdue(job, now)
  if not job.started_at and job.expires_at and now >= tonumber(job.expires_at) then return EXPIRED, NOT_IN_TIME end
  if job.give_up_at and now >= tonumber(job.give_up_at) then return job.started_at and FAILED or EXPIRED, TOO_OLD end
end

-- End a waiting job whose time is over. Returns its status, nil if it goes on waiting.
local function end_overdue(job, now, ttl)
  local status, why = overdue(job, now)
  if not status then return nil end
  redis.call('HSET', job_key(job.id), 'error', why)
  finish_job(job, status, nil, now, ttl)
  return status
end

-- A record that somebody else has spoilt: failed, and its fields such that it can be shown.
local function fail_unreadable(job, now, ttl)
  local key = job_key(job.id)
  redis.call('HSET', key, 'attempt', 0, 'max_attempts', 1, 'error',
    '{"type": "unreadable_record", "message": "its record in Redis can not be read", "retryable": false}')
  redis.call('HDEL', key, 'throttled')
  job.attempt = 0
  if job.created_at == '0' then
    job.created_at = now
    redis.call('HSET', key, 'created_at', now)
  end
  finish_job(job, FAILED, nil, now, ttl)
end

-- Take a waiting job for the call `claim`, unless `admit(job)` says that it can't start now, or gives the time when it does
-- and sets `charged`. Returns the lease as the fields of Python's `Lease`, and `charged`, or nil and why not.
local function claim_job(id, worker, claim, now, lease, ttl, admit)
  local key, job = job_key(id), load_job(id, TO_CLAIM)
  if not job then return nil, why_not_loaded(id) end
  if not WAITING[job.status] then return nil, job.status end
  local over = end_overdue(job, now, ttl)
  if over then return nil, over end
  local payload = job.payload or job.payload_bytes and peek('GET', PAYLOAD .. id)
  local is_readable = payload and is_count(job.max_attempts) and is_count(job.throttled or '0') and not job.spoilt
  if not is_readable then
    fail_unreadable(job, now, ttl)
    return nil, FAILED
  end
  local start = now
  job.charged = 0  -- as a suspect stands in no lane
  if admit then
    start = admit(job)
    if not start then return nil, 'no room' end
  end
  local token = new_token(claim)
  local attempt = job.attempt + 1
  job.attempt = attempt
  redis.call('HSET', key, 'status', RUNNING, 'token', token, 'worker', worker, 'started_at', start,
    'attempt', attempt, 'charged', job.charged, log_transition(job, RUNNING, now))
  redis.call('HDEL', key, 'run_at', 'progress', 'estimated_start', 'front', 'weight')
  concurrency.begin(job, now)
  if job.weight then redis.call('HSET', key, 'weight', job.weight) end
  if job.counted then redis.call('HSET', key, 'counted', job.counted) end
  if job.expires_at then redis.call('ZREM', EXPIRING, id) end
  if job.front then
    engine[job.queue].release(job, token)
    job.front = nil
  end
  engine[job.queue].lease(job, token, now, lease)
  engine[job.queue].start(job, worker, now)
  count(job, job.status, RUNNING)
  observe('wait', job, now - (job.ready_at or job.created_at))
  return {id = id, task = job.task, owner = job.owner, payload = payload, payload_bytes = job.payload_bytes,
    request_id = job.request_id or '', token = token, attempt = attempt, max_attempts = job.max_attempts, created_at = job.created_at, stream = job.stream,
    throttled = job.throttled, suspect = is_suspect(job), native = job.native, priority = job.priority,
    charged = job.charged}
end

-- This attempt of a running job never began: it is as it was before the claim, and may still expire.
local function unbegin(job)
  local key = job_key(job.id)
  take_attempt_off(job)
  if redis.call('HEXISTS', key, 'begun') == 1 then return end
  redis.call('HDEL', key, 'started_at')
  job.started_at = nil
  if job.expires_at then redis.call('ZADD', EXPIRING, job.expires_at, job.id) end
end

-- A worker's last claim that leased something, the number of the token before its first, and the jobs, until the worker
-- shows that it has heard of it: by its next claim, or by renewing one of those leases.
local function last_claim(worker)
  local claim, fence, ids = string.match(redis.call('GET', ASKED .. worker) or '', '^(%S+) (%d+) ?(.*)$')
  return claim, tonumber(fence), ids
end

-- A claim is asked again, by the same name, when its answer got lost: what it leased goes back as if never begun.
-- Returns the jobs, with the tokens that they had.
local function undo_unanswered_claim(worker, claim, now)
  local asked, fence, ids = last_claim(worker)
  if not asked then return {} end
  redis.call('DEL', ASKED .. worker)
  if asked ~= claim then return {} end
  local undone = {}
  for _, id in ipairs(decode(ids) or {}) do
    local job = load_job(id)
    if job and job.status == RUNNING and job.worker == worker and number_of(job.token) > fence then
      unbegin(job)
      lanes.settle(job, 0)
      requeue(job, job.token, now, now, true)
      undone[#undone + 1] = {id = id, token = job.token}
    end
  end
  return undone
end

-- The last outage: the number of the last token from before it, and when it was over.
local function last_outage()
  local fence, over = string.match(redis.call('GET', OUTAGE) or '', '^(%d+) (%d+)$')
  return tonumber(fence or 0), tonumber(over or 0)
end

-- A run whose lease is over was a turn. In the forking pool it took the time until it was renewed last, or, if it was
-- lost while Redis was away, nobody knows how long; what one of the asyncio pool has used nobody says any more.
local function settle_lost(job, now, in_outage)
  if job.queue == LLM then
    lanes.settle(job, 0, true)
  elseif not in_outage then
    durations.settle(job, now - LEASE_MS, true)
  end
end

-- The lease of a running job is over: the worker died, or Redis was away. Then it may never have heard of its claim, or
-- was told to stop and could not hand the job back: nobody has heard of it since, and no attempt is burnt. The loss
-- counts, so that nothing goes on for ever. Returns whether the job waits again.
local function give_back_expired(job, now, ttl)
  local outage, over = last_outage()
  local token = number_of(job.token)
  local _, fence = last_claim(job.worker or '')
  local seen = peek('HGET', WORKER .. (job.worker or ''), 'at')
  local is_from_before = token <= outage
  local in_outage = is_from_before and (tonumber(seen or '') or 0) < over
  if is_from_before and fence and token > fence then
    unbegin(job)
    lanes.settle(job, 0)
  else
    settle_lost(job, now, in_outage)
    if in_outage and not counts_out(job, false) then
      take_attempt_off(job)
    elseif crashed(job, false, now, ttl) then
      return false
    end
  end
  requeue(job, job.token, now, now, true)
  return true
end

-- What a claim leased, with tokens from `first` on, in case that its answer gets lost.
local function note_claim(worker, claim, first, ids)
  local noted = claim .. ' ' .. whole(number_of(first) - 1) .. ' ' .. cjson.encode(ids)
  redis.call('SET', ASKED .. worker, noted, 'PX', ASKED_KEPT_MS)
end

-- Waiting or running: over at once. A worker that runs it finds its lease gone, within a second. What a run of the
-- asyncio pool has used, it says itself; what one of the forking pool has taken is settled now, as the job may have been
-- retried or erased by then. Returns the status it had.
local function cancel_job(id, now, ttl)
  local job = load_job(id)
  if not job then return nil end
  if LEGAL[job.status][CANCELLED] then
    if job.token then redis.call('HSET', job_key(id), 'stopped', job.token) end
    if job.queue == SYNC and job.status == RUNNING then durations.settle(job, now, true) end
    finish_job(job, CANCELLED, job.token, now, ttl)
  end
  return job.status
end
