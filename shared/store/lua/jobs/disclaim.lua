-- Give back what a claim leased whose answer never came; its worker ends. Answers how many jobs.
local undone = undo_unanswered_claim(worker, claim, now_ms())
for _, job in ipairs(undone) do
  if queue == LLM then limits.settle(job.id .. ':' .. job.token .. ':0') end  -- nothing was sent
end
limits.save()
return #undone
