-- How long runs of a task last, in ms: a mean that forgets (EWMA). The forking pool's claim charges it in advance.

local durations = {}

local function learned(job) return tonumber(peek('HGET', DURATIONS, task_of(job)) or '') end

-- At least 1: who pays nothing would have every turn.
function durations.expected(job) return math.max(1, math.floor(learned(job) or UNKNOWN_DURATION_MS)) end

-- How long the run of a job has lasted that ends now, as far as it is paid for.
function durations.of_run(job, now)
  if not job.started_at then return nil end
  return math.max(1, math.min(now - job.started_at, MOST_PAID))
end

function durations.learn(job, took)
  local mean = learned(job)
  redis.call('HSET', DURATIONS, task_of(job), string.format('%.1f', mean and mean + LEARN * (took - mean) or took))
end
