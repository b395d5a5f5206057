-- Whether Redis keeps what a process has read in its config file, or what one has said that began later.
local said = redis.call('HMGET', FAIRNESS_TOLD, 'digest', 'since')
if said[1] == digest then return redis.call('HLEN', FAIRNESS) == size end
local since = tonumber(said[2] or '')
return since ~= nil and since > process_began and since <= now_ms()
