-- Several calls of one script as one. What they have in common is looked up and written once; one that fails is none of
-- its neighbours' business. The arguments: of each call their number, then they themselves. Answers a list.

local GROUPED = {}  -- the keys that such a call is given: the group has begun already

local function error_of(problem)
  return {err = type(problem) == 'table' and problem.err or 'ERR ' .. tostring(problem)}
end

local function in_groups(call)
  return function(_, args)
    begin_call()
    begin_sums()
    lanes.nobody_leaves()
    local answers, at = {}, 1
    while args[at] do
      local last = at + tonumber(args[at])
      local is_well, answer = pcall(call, GROUPED, {unpack(args, at + 1, last)})
      if not is_well then answer = error_of(answer) end
      answers[#answers + 1] = answer or false
      at = last + 1
    end
    write_sums()
    return answers
  end
end
