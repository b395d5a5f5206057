-- The engine of each queue; both have the same functions.

local engine = {[LLM] = arq, [SYNC] = rq}
