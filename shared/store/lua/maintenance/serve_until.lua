-- Note that a schedule is served up to a moment. It is noted also when Redis is full, or the clock would stumble over it.
redis.call('SET', SCHEDULE .. schedule, moment, 'PX', kept)
return true
