-- Give back what a claim leased whose answer never came; its worker ends. Answers how many jobs.
return #undo_unanswered_claim(queue, worker, claim, now_ms())
