"""What a handler of the asyncio pool may use, and where it is bound."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from llm_worker.provider import Provider
from shared.binding import Handlers
from shared.job import Usage
from shared.settings import Settings
from shared.spec import Output, Queue


@dataclass(kw_only=True)
class LlmContext:
    """One attempt: the provider to ask, and the tokens that the attempt has cost so far."""

    job_id: str
    owner: str
    attempt: int
    settings: Settings
    provider: Provider
    usage: Usage = field(default_factory=Usage)

    def spend(self, usage: Usage) -> None:
        """Add the cost of one call to the provider."""
        self.usage = Usage(
            self.usage.input_tokens + usage.input_tokens,
            self.usage.output_tokens + usage.output_tokens,
            self.usage.requests + usage.requests,
        )


LlmHandler = Callable[[LlmContext, Any], Awaitable[Output]]
HANDLERS: Handlers[LlmHandler] = Handlers(Queue.LLM)
handles = HANDLERS.handles
