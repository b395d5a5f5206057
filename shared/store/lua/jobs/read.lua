-- A record's `fields`, with a result of `most` bytes at most; the length that it has comes last. Both lengths are those from
-- before it was compressed: one that stands in the record never is.
local key, place = JOB .. id, nil
local size = redis.pcall('HSTRLEN', key, 'result')
if type(size) == 'table' then return {false, '0'} end  -- no hash: no job
for i, name in ipairs(fields) do
  if name == 'result' then place = i end
end
if size > most then fields[place] = '' end  -- no such field
fields[#fields + 1] = 'result_bytes'
local values = redis.call('HMGET', key, unpack(fields))
if size > 0 then
  values[#fields] = tostring(size)
elseif (tonumber(values[#fields] or '') or math.huge) <= most then
  local text = redis.pcall('GET', RESULT .. id)
  values[place] = type(text) == 'string' and text
end
return values
