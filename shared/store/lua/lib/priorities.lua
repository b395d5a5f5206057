-- Which priority is served first at this turn: of 20 turns high has 16, normal 3, low 1; none is starved. And the turn.
local function next_priorities(queue)
  local n = redis.call('INCR', TURN .. queue)
  if n % 20 == 0 then return {LOW, HIGH, NORMAL}, n end
  if n % 5 == 0 then return {NORMAL, HIGH, LOW}, n end
  return PRIORITIES, n
end
