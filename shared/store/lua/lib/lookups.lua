-- What stays as it is during a call is looked up once. `name` says what that is.
local looked_up
each_call(function() looked_up = {} end)

local function once(name, look, ...)
  if looked_up[name] == nil then looked_up[name] = look(...) end
  return looked_up[name]
end

-- What this call has yet to write to a field.
local function unwritten(key, field) return sums and sums[key] and sums[key][field] or 0 end

-- A field of a hash that is counted, with that.
local function read_count(key, field) return tonumber(peek('HGET', key, field) or '') or 0 end

local function count_of(key, field)
  if not sums then return read_count(key, field) end
  return once(key .. ' ' .. field, read_count, key, field) + unwritten(key, field)
end
