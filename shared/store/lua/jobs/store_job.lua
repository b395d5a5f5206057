-- Store the record and put it in its queue: both or neither.
local now, key = now_ms(), job_key(id)
-- The client may repeat a call whose answer it lost: ids are unique, so this is the same call.
local stored = redis.call('HMGET', key, 'created_at', 'ready_at', 'estimated_start')
if stored[1] then return Stored{created_at = stored[1], run_at = stored[2] or stored[1], estimated_start = stored[3], full_in = 0} end
local repeated = find_repeated(id, idempotency, fingerprint)
if repeated then return repeated end
if no_room then return Refused{kind = 'memory'} end

local job = {id = id, queue = queue, task = task, owner = owner, priority = priority, created_at = now, lane = lane,
  attempt = 0, seq = 0, events = 'record', apart = apart and '1'}
local waiting = count_of(COUNTS .. queue, QUEUED) + count_of(COUNTS .. queue, SCHEDULED)
local refused = refuse_if_full(job, waiting, now, queue_max, share)
if refused then return refused end
local left, wait, full_in = nil, 0, 0
if rpm then
  left, wait, full_in = take_from_bucket(RPM .. owner, rpm, now)
  if wait > 0 then return Refused{kind = 'rate', wait = wait} end
end

local due = math.max(now, run_at or (now + (delay or 0)))
job.status, job.ready_at = due > now and SCHEDULED or QUEUED, due
local record = {'id', id, 'queue', queue, 'task', task, 'owner', owner,
  'max_attempts', max_attempts, 'status', job.status, 'priority', priority, 'attempt', 0, 'created_at', now,
  'events', job.events, log_transition(job, job.status, now)}
local function keep(field, value)
  if value then record[#record + 1], record[#record + 2] = field, value end
end
keep_text(job, 'payload', payload, payload_bytes, record)
keep('request_id', request_id)
keep('ready_at', due > now and due)
keep('run_at', due > now and due)
keep('lane', lane)
keep('apart', job.apart)
keep('webhook', webhook)
keep('url', url)
keep('stream', stream and '1')
keep('expires_at', expires_in and now + expires_in)
keep('give_up_at', max_age and math.max(due + max_age, now + (expires_in or 0)))  -- its own time may be longer
if expires_in then redis.call('ZADD', EXPIRING, now + expires_in, id) end
remember(id, idempotency, fingerprint, idempotency_ttl)
redis.call('ZADD', INDEX, now, id)
redis.call('ZADD', INDEX .. ':' .. owner, now, id)
once('known ' .. owner, redis.call, 'SADD', OWNERS, owner)
engine[queue].describe(job, now, rq_fields)
engine[queue].enqueue(job, due, now)
count(job, nil, job.status)
local estimated_start = job.status == SCHEDULED and due or estimates.start(job, waiting, now)
keep('estimated_start', estimated_start)
redis.call('HSET', key, unpack(record))
wake(queue)
return Stored{created_at = now, run_at = due, estimated_start = estimated_start, left = left, full_in = full_in}
