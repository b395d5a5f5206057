-- A job's input as it is kept, and its length before it was compressed, if it stands in a key of its own.
local f = redis.pcall('HMGET', JOB .. id, 'payload', 'payload_bytes')
if f.err then return {} end  -- no hash: no job
local text = not f[1] and redis.pcall('GET', PAYLOAD .. id)
return {f[1] or type(text) == 'string' and text, f[2]}
