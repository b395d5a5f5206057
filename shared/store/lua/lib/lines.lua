-- Lines: later requests of a job that has begun wait in place, before all new starts, one line for each level that makes
-- them wait, by the time since when they wait; for the end of a park, in that of the model. Who has not come for
-- LINE_STALE_US, or so long after it was to come, has gone.

local lines = {}
local pruned  -- in this call
each_call(function() pruned = {} end)

local function prune(name)
  if pruned[name] then return end
  pruned[name] = true
  local now = limits.now()
  for _, ticket in ipairs(redis.call('ZRANGE', LIMIT_LINE .. name, 0, STEP - 1)) do
    if now - (tonumber(redis.call('ZSCORE', LIMIT_WAITERS, ticket) or 0)) <= LINE_STALE_US then break end
    redis.call('ZREM', LIMIT_LINE .. name, ticket)
    redis.call('ZREM', LIMIT_WAITERS, ticket)
  end
end

-- How many wait at a level.
function lines.length(name)
  prune(name)
  return redis.call('ZCARD', LIMIT_LINE .. name)
end

-- How many wait there before a ticket that has waited since then.
function lines.ahead(name, ticket, since)
  prune(name)
  return redis.call('ZRANK', LIMIT_LINE .. name, ticket)
    or redis.call('ZCOUNT', LIMIT_LINE .. name, '-inf', '(' .. whole(since))
end

-- `away`: so long it need not come, in us.
function lines.join(name, ticket, since, away)
  redis.call('ZADD', LIMIT_LINE .. name, 'NX', whole(since), ticket)
  redis.call('ZADD', LIMIT_WAITERS, limits.now() + away, ticket)
  for _, key in ipairs({LIMIT_LINE .. name, LIMIT_WAITERS}) do redis.call('PEXPIRE', key, LINE_KEPT_MS) end
end

-- It waits for something else alone: it must hold up nobody here.
function lines.step_out(name, ticket) redis.call('ZREM', LIMIT_LINE .. name, ticket) end

function lines.leave(request, ticket)
  if redis.call('ZREM', LIMIT_WAITERS, ticket) == 0 then return end
  for _, spec in ipairs(request.levels) do redis.call('ZREM', LIMIT_LINE .. spec.name, ticket) end
  if request.scope then redis.call('ZREM', LIMIT_LINE .. request.scope, ticket) end
end
