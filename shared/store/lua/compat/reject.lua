-- Refuse a job of plain RQ that this platform may not run: it stays where its owner sees it. What is no job at all vanishes.
-- ARGV: id, RQ's queue, why.
redis.call('ZREM', ADOPTING, ARGV[2] .. ' ' .. ARGV[1])
if redis.call('TYPE', 'rq:job:' .. ARGV[1]).ok ~= 'hash' then return 0 end
redis.call('ZADD', 'rq:failed:' .. ARGV[2], -1, ARGV[1])  -- RQ's "for ever"
redis.call('HSET', 'rq:job:' .. ARGV[1], 'status', 'failed', 'ended_at', iso(now_ms()), 'exc_info', ARGV[3])
return 1
