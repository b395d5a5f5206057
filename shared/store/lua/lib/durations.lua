-- How long runs of a task last, in ms: a mean that forgets (EWMA). The forking pool's claim charges it in advance.

local durations = {}

local function learned(job) return tonumber(peek('HGET', DURATIONS, task_of(job)) or '') end

-- At least 1: who pays nothing would have every turn.
function durations.expected(job) return math.max(1, math.floor(learned(job) or UNKNOWN_DURATION_MS)) end

-- A run has ended at `ended`: its owner pays for what it took. Returns that, in ms, nil if nobody knows when it began.
function durations.settle(job, ended, waits_again)
  if not job.started_at then return nil end
  local took = math.max(1, math.min(ended - job.started_at, MOST_PAID))
  lanes.settle(job, took, waits_again)
  return took
end

function durations.learn(job, took)
  local mean = learned(job)
  redis.call('HSET', DURATIONS, task_of(job), string.format('%.1f', mean and mean + LEARN * (took - mean) or took))
end
