-- Which priority is served first at this turn: of 20 turns high has 16, normal 3, low 1; none of these is starved. And
-- the turn. Idle jobs have none: they come after all others.
local function next_priorities(queue)
  local n = redis.call('INCR', TURN .. queue)
  if n % 20 == 0 then return {LOW, HIGH, NORMAL}, n end
  if n % 5 == 0 then return {NORMAL, HIGH, LOW}, n end
  return {HIGH, NORMAL, LOW}, n
end
