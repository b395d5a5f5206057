-- Look at a stretch of the index of all jobs, or of an owner's, oldest first, for entries without a record.
local index, dead, STRETCH = owner and INDEX .. ':' .. owner or INDEX, {}, 250
local ids = redis.call('ZRANGE', index, start, start + STRETCH - 1)
for _, id in ipairs(ids) do
  if redis.call('EXISTS', job_key(id)) == 0 then dead[#dead + 1] = id end
end
if dead[1] and not dry_run then
  forget_texts(dead)
  redis.call('ZREM', index, unpack(dead))
end
if #ids < STRETCH then return Trimmed{dead = #dead} end
return Trimmed{dead = #dead, next = start + STRETCH - (dry_run and 0 or #dead)}
