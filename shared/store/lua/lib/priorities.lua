-- Which priority is served first at this turn: of 20 turns high has 16, normal 3, low 1; none is starved.
local function next_priorities(queue)
  local n = redis.call('INCR', TURN .. queue) % 20
  if n == 0 then return {LOW, HIGH, NORMAL} end
  if n % 5 == 0 then return {NORMAL, HIGH, LOW} end
  return PRIORITIES
end
