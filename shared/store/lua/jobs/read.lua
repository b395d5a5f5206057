-- A record's `fields`, but no result of more than `most` bytes; the length that it has comes last.
local key = JOB .. id
local size = redis.pcall('HSTRLEN', key, 'result')
if type(size) == 'table' then return {false, '0'} end  -- no hash: no job
for i, name in ipairs(fields) do
  if name == 'result' and size > most then fields[i] = '' end  -- no such field
end
local values = redis.call('HMGET', key, unpack(fields))
values[#fields + 1] = tostring(size)
return values
