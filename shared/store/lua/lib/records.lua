-- Records and their counters. The names in capitals come from Python (scripts.py), so that each is written once.

local function job_key(id) return JOB .. id end

local FIELDS = {'status', 'queue', 'task', 'owner', 'priority', 'token', 'worker', 'attempt', 'created_at', 'started_at',
  'ready_at', 'expires_at', 'webhook', 'native', 'origin', 'crashes', 'front', 'idempotency', 'lane', 'give_up_at', 'sent', 'locks', 'charged',
  'seq', 'events', 'weight', 'counted', 'apart', 'payload_bytes'}
local COUNTS_OR_NOTHING = {'started_at', 'ready_at', 'expires_at', 'give_up_at', 'crashes', 'charged', 'seq'}

-- With what a claim, and the end of a run, have to know besides.
local TO_CLAIM, TO_FINISH = {'payload', 'request_id', 'max_attempts', 'stream', 'throttled'}, {'done', 'stopped', 'spent'}
for i = 1, #FIELDS do TO_CLAIM[#TO_CLAIM + 1], TO_FINISH[#TO_FINISH + 1] = FIELDS[i], FIELDS[i] end
-- They are read from all that a record says: by name, too.
for i = 1, #TO_CLAIM do TO_CLAIM[TO_CLAIM[i]] = true end
for i = 1, #TO_FINISH do TO_FINISH[TO_FINISH[i]] = true end

-- Texts of a job that may be long. A short one stands in the record, a longer one in a key of its own: with a value of over
-- SHORT_TEXT bytes a record is a hash table, which takes 1 KB more. The record then says how long it is, as `<name>_bytes`.
-- What is kept may be compressed: nobody here reads it.
local TEXTS = {payload = PAYLOAD, result = RESULT}

-- Keep a text of `bytes` before it was compressed; `fields` are field, value, … that the record is to get.
local function keep_text(job, name, text, bytes, fields)
  if bytes > SHORT_TEXT then
    redis.call('SET', TEXTS[name] .. job.id, text)
    name, text = name .. '_bytes', bytes
    job[name] = bytes
  end
  fields[#fields + 1], fields[#fields + 2] = name, text
end

-- Do something with the texts of a job that have keys of their own.
local function each_text(job, command, ...)
  for name, key in pairs(TEXTS) do
    if job[name .. '_bytes'] then redis.call(command, key .. job.id, ...) end
  end
end

-- Remove the texts of jobs whose records are gone. They have gone with them, unless somebody has deleted a record, or a
-- version that does not know texts of their own has ended its job.
local function forget_texts(ids)
  local keys = {}
  for _, id in ipairs(ids) do
    for _, key in pairs(TEXTS) do keys[#keys + 1] = key .. id end
  end
  redis.call('UNLINK', unpack(keys))
end

local NOT_IN_BOOK, NEWER = 'not in the book', 'newer'

local function is_count(text) return text and #text < 15 and string.find(text, '^%d+$') end

-- A command on a key that belongs to one tenant, task or lane. What somebody has put there that is of another type gives
-- way, or it would stop all others; the clock finds again what is missing.
local function insist(command, key, ...)
  local answer = redis.pcall(command, key, ...)
  local problem = type(answer) == 'table' and answer.err
  if not problem then return answer end
  if string.find(problem, 'WRONGTYPE', 1, true) then redis.call('UNLINK', key) end
  return redis.call(command, key, ...)
end

-- Add to a number in a hash. What somebody has spoilt counts from the beginning: a script must not end half-way.
local function increase(key, field, by)
  local number = redis.pcall('HINCRBY', key, field, by)
  if type(number) == 'number' then return number end
  insist('HSET', key, field, by)
  return by
end

-- What stands in a key, or in a field of a hash; nothing if the key is of another kind.
local function peek(command, ...)
  local value = redis.pcall(command, ...)
  return type(value) == 'string' and value
end

-- What a wish (to cancel, to retry) was answered: the same call comes again when its answer got lost.
local function answer_to_wish(id, mark)
  local known, status = string.match(peek('HGET', job_key(id), 'wish') or '', '^(%S+) (%S+)$')
  return known == mark and status or nil
end

local function note_wish(id, mark, status) redis.call('HSET', job_key(id), 'wish', mark .. ' ' .. status) end

-- JSON that another program may have spoilt: nil if it is no object or list.
local function decode(text)
  local is_json, value = pcall(cjson.decode, text)
  return is_json and type(value) == 'table' and value or nil
end

-- What the transitions need to know of a job, or other `fields`, one read for all; nil if there is no record, or one that
-- is none of ours. What should be a number is one, or is not there; `spoilt` says that one is missing without which the
-- job can't run. Where most of a record is wanted it is read as a whole: a compact one is searched for each field.
local function load_job(id, fields)
  local job = {id = id}
  if fields then
    local record = redis.pcall('HGETALL', job_key(id))
    for i = 1, #record, 2 do
      if fields[record[i]] then job[record[i]] = record[i + 1] end
    end
  else
    local values = redis.pcall('HMGET', job_key(id), unpack(FIELDS))
    for i = 1, #FIELDS do job[FIELDS[i]] = values[i] or nil end
  end
  if not job.status then return nil end
  local is_ours = (job.queue == LLM or job.queue == SYNC) and job.task and job.owner and job.attempt and job.created_at
    and (job.priority == NORMAL or job.priority == HIGH or job.priority == LOW or job.priority == IDLE) and LEGAL[job.status]
  if not is_ours then return nil end
  for _, name in ipairs(COUNTS_OR_NOTHING) do
    if job[name] and not is_count(job[name]) then job[name] = nil end
  end
  if not is_count(job.attempt) then job.attempt, job.spoilt = '0', true end
  if not is_count(job.created_at) then job.created_at, job.spoilt = '0', true end
  job.ready_at = job.ready_at or job.created_at  -- it was due when it came
  return job
end

-- A job of the asyncio pool that was there when two workers died: it runs in a process of its own.
local function is_suspect(job) return job.queue == LLM and tonumber(job.crashes or 0) >= SUSPECT_AFTER end

-- Why `load_job` found nothing: the job is not in the book, or has a status that only a newer version knows.
local function why_not_loaded(id)
  local status = peek('HGET', job_key(id), 'status')
  return status and not LEGAL[status] and NEWER or NOT_IN_BOOK
end

-- What a call writes for many jobs it may put together, and write at once in the end: what it counts, by key and field,
-- and members of sorted sets that it does not look at meanwhile, by key, with their scores; false: the member goes.
local sums, members
each_call(function() sums, members = nil, nil end)

local function write_member(key, member, score)
  if members then
    members[key] = members[key] or {}
    members[key][member] = score
  elseif score then
    redis.call('ZADD', key, score, member)
  else
    redis.call('ZREM', key, member)
  end
end

local function write_sum(key, field, by)
  if increase(key, field, by) <= 0 and string.sub(key, 1, #SHARES) == SHARES then redis.call('HDEL', key, field) end
end

local function add(key, field, by)
  if not sums then return write_sum(key, field, by) end
  sums[key] = sums[key] or {}
  sums[key][field] = (sums[key][field] or 0) + by
end

local function begin_sums() sums, members = {}, {} end

-- One key that somebody has spoilt is to keep nothing from being written to the others.
local function write_sums()
  for key, fields in pairs(sums or {}) do
    for field, by in pairs(fields) do write_sum(key, field, by) end
  end
  local problem
  local function write(command, key, list)
    local answer = list[1] and redis.pcall(command, key, unpack(list))
    if type(answer) == 'table' then problem = answer end
  end
  for key, scores in pairs(members or {}) do
    local there, gone = {}, {}
    for member, score in pairs(scores) do
      if score then there[#there + 1], there[#there + 2] = score, member else gone[#gone + 1] = member end
    end
    write('ZADD', key, there)
    write('ZREM', key, gone)
  end
  if problem then error(problem, 0) end
end

-- The same call, whose sums are written also where it fails half-way: what it has changed until then stays.
local function add_up(call)
  return function(keys, args)
    local is_well, answer = pcall(call, keys, args)
    write_sums()
    if not is_well then error(answer, 0) end
    return answer
  end
end

-- Every job of a queue by status, and of each owner those that wait; and the indexes of what is rare.
local function count(job, from, to)
  if from and UNFINISHED[from] then add(COUNTS .. job.queue, from, -1) end
  if to and UNFINISHED[to] then add(COUNTS .. job.queue, to, 1) end
  if RARE[from] then write_member(BY_STATUS .. from, job.id, false) end
  if RARE[to] then write_member(BY_STATUS .. to, job.id, job.created_at) end
  local change = (WAITING[to] and 1 or 0) - (WAITING[from] and 1 or 0)
  if change ~= 0 then add(SHARES .. job.queue, job.owner, change) end
end

-- The token of a lease: a number, so that a later one is greater, and what no other claim's tokens have. For the number
-- alone comes again when the book goes back, as after a fail-over to a replica that had not heard of the last writes.
local function new_token(claim) return redis.call('INCR', FENCE) .. '-' .. string.sub(claim, 1, 8) end

-- Which of all tokens it is; 0 if it is none.
local function number_of(token) return tonumber(string.match(token or '', '^%d+') or 0) end

-- The last few tokens that a field of a record names, newest last. Not more: who writes again because an answer got lost
-- comes seconds later, and a record with a value of over 64 bytes is dearer.
local TOKENS_KEPT = 3

local function has_token(tokens, token) return string.find(' ' .. (tokens or '') .. ' ', ' ' .. token .. ' ', 1, true) ~= nil end

local function with_token(tokens, token)
  local kept = {}
  for known in string.gmatch(tokens or '', '%S+') do kept[#kept + 1] = known end
  kept[#kept + 1] = token
  return table.concat(kept, ' ', math.max(1, #kept - TOKENS_KEPT + 1))
end

-- Wake one idle worker of a queue; capped, because a worker that is awake needs nobody to wake it.
local function wake(queue)
  if redis.call('LLEN', WAKEUP .. queue) < 100 then redis.call('LPUSH', WAKEUP .. queue, '1') end
end

local function is_paused(queue) return redis.call('SISMEMBER', PAUSED, queue) == 1 end

-- Counters for /metrics, kept here so that forked processes and several gateways give right totals.
local function tally(name, by) add(METRICS, name, by or 1) end

-- A job in metrics. Plain arq and RQ name functions as they like: as labels they would grow without bound.
local function task_of(job) return job.native and 'plain ' .. job.native or job.task end
local function label_of(job) return task_of(job) .. '|' .. job.queue end

local function observe(name, job, ms)
  local label = name .. '|' .. label_of(job)
  local bucket = 'inf'
  for _, bound in ipairs(BOUNDS) do
    if ms <= bound then bucket = bound break end
  end
  tally(label .. '|' .. bucket)
  tally(label .. '|sum', math.max(0, math.floor(ms)))
end

-- How fast a queue drains: jobs ended, in buckets of ten seconds over the last minute.
local BUCKET = 10000

local function count_end(queue, now)
  local key = RATE .. queue .. ':' .. math.floor(now / BUCKET)
  if redis.pcall('INCR', key) == 1 then redis.call('PEXPIRE', key, 8 * BUCKET) end
end

-- Jobs a millisecond; 0 if none ended in the last minute.
local function drain_rate(queue, now)
  local bucket, keys = math.floor(now / BUCKET), {}
  for i = bucket - 6, bucket do keys[#keys + 1] = RATE .. queue .. ':' .. i end
  local total, since = 0, nil
  for i, ended in ipairs(redis.call('MGET', unpack(keys))) do
    if ended then
      since = since or (bucket - 7 + i) * BUCKET
      total = total + (tonumber(ended) or 0)
    end
  end
  return since and total / math.max(now - since, 1000) or 0
end
