-- Cancel a job. ARGV: id, ttl_ms. Returns the status that it had, or '' if there is none.
return cancel(ARGV[1], now_ms(), tonumber(ARGV[2])) or ''
