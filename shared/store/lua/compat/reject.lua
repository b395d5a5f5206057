-- Refuse a job of plain RQ that this platform may not run: it stays where its owner sees it. What is no job at all is
-- gone; an id that is no text would break RQ's list of failed jobs. Answers whether there was a job.
redis.call('ZREM', ADOPTING, origin .. ' ' .. job_id)
if redis.call('TYPE', RQ_JOB .. job_id).ok ~= 'hash' then return false end
if shown then redis.call('ZADD', RQ_FAILED .. origin, -1, job_id) end  -- RQ's "for ever"
redis.call('HSET', RQ_JOB .. job_id, 'status', RQ_STATUS[FAILED], 'ended_at', iso(now_ms()), 'exc_info', why)
return true
