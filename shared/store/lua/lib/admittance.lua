-- Whether the next request of a lane may start now. `admittance.models` is what the claim says of models: `known` has
-- those of the settings, each with its scopes ({scope, levels}: itself, then its fallbacks) and `after` (us), how long a
-- busy one is waited for before a fallback is asked; `provider` and `levels` are those of any other.

local admittance = {}
each_call(function() admittance.models = nil end)

-- Provider and model that are asked now: the lane's own, or the first fallback that is not parked. Or nil, and in how
-- many us it is worth to look again.
function admittance.route(name)
  local models = admittance.models
  local model = models.known[name]
  if not model then return {scope = models.provider .. ':' .. name, levels = models.levels} end
  local opens
  for i, scope in ipairs(model.scopes) do
    local left, kind = parks.left(scope.scope)
    if left == 0 then return scope end
    opens = math.min(opens or left, left)
    if i == 1 and kind ~= DOWN and left <= model.after then break end  -- not worth a fallback
  end
  return nil, opens
end

-- The request that may start, with `start` where anything limits it; or nil, in how many us it may, and whether it is a
-- park of its model alone that keeps it.
function admittance.of(lane, job)
  local _, tokens, sort, model = lanes.of(job)
  local route, opens = admittance.route(model)
  if not route then return nil, opens, true end
  local request = {scope = route.scope, levels = route.levels, tokens = tokens, sort = sort, is_idle = lane.is_idle}
  local start, list = parks.start(route.scope), limits.gates(request)
  if not start and not list[1] then return request end
  limits.reap()
  local now, binding = limits.now(), nil
  start = start or now
  if start > now then return nil, start - now, true end  -- closed, or enough are trying it: none is granted ahead
  if lines.length(route.scope) > 0 then return nil, NEAR_US, true end  -- those who waited for its end, having begun
  for _, gate in ipairs(list) do
    if gate.n > gate.limit then  -- its attempt says so, or splits it
      return {scope = route.scope, levels = {}, tokens = tokens, sort = sort}
    end
    if lines.length(gate.level.name) > 0 then return nil, NEAR_US end  -- those who have begun go first
    local at = gate:start(now, 0)
    if at > start then start, binding = at, gate end
  end
  if start <= now + NEAR_US then
    request.start = start
    return request
  end
  if binding and not lane.is_idle then limits.stall(binding.level, lane.name) end
  return nil, start - now - NEAR_US / 2
end
