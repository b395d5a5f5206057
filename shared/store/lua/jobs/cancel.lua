-- Cancel a job. Answers the status that it had.
return cancel_job(job_id, now_ms(), ttl)
