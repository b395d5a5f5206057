from tandem.llm_worker.generation.context import LlmContext, handles
from tandem.shared.tasks.catalog.llm import CHAT, ChatInput, ChatOutput


@handles(CHAT)
async def chat(ctx: LlmContext, job: ChatInput) -> ChatOutput:
    answer = await ctx.provider.chat(
        job.messages,
        model=job.model,
        temperature=job.temperature,
        max_output_tokens=job.max_output_tokens,
        stream=ctx.stream,
    )
    return ChatOutput(text=answer.text, model=answer.model, finish_reason=answer.finish_reason)
