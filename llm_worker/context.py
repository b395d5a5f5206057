"""What a handler of the asyncio pool may use, and where it is bound."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from llm_worker.asking import Asking
from llm_worker.router import Router
from shared.binding import Handlers
from shared.job import Usage
from shared.settings import Settings
from shared.spec import Output, Queue


@dataclass(kw_only=True)
class LlmContext:
    """One attempt: the providers to ask, what they have cost so far, and who was asked last."""

    job_id: str
    owner: str
    attempt: int
    settings: Settings
    router: Router = field(repr=False)
    usage: Usage = field(default_factory=Usage)
    asked: str | None = None

    @property
    def provider(self) -> Asking:
        return Asking(self.router, self.settings, self)

    def spend(self, usage: Usage, *, provider: str) -> None:
        """Add the cost of one request to `provider`."""
        self.asked = provider
        self.usage = Usage(
            self.usage.input_tokens + usage.input_tokens,
            self.usage.output_tokens + usage.output_tokens,
            self.usage.requests + usage.requests,
        )


LlmHandler = Callable[[LlmContext, Any], Awaitable[Output]]
HANDLERS: Handlers[LlmHandler] = Handlers(Queue.LLM)
handles = HANDLERS.handles
