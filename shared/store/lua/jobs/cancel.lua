-- Cancel a job. Answers the status that it had.
local said = answer_to_wish(job_id, mark)
if said then return said end
local status = cancel_job(job_id, now_ms(), ttl)
if status and LEGAL[status][CANCELLED] then note_wish(job_id, mark, status) end
return status
