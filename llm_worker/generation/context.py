"""What a handler of the asyncio pool may use, and where it is bound."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tandem.llm_worker.generation.client import ModelClient
from tandem.llm_worker.generation.reporter import Append, Reporter
from tandem.llm_worker.providers.beginning import Beginning
from tandem.llm_worker.providers.hold import ALWAYS, Hold
from tandem.llm_worker.providers.router import Router
from tandem.llm_worker.rate_limit.tickets import Tickets
from tandem.shared.config.settings import Settings
from tandem.shared.jobs.events import Kind
from tandem.shared.jobs.model import Usage
from tandem.shared.tasks.handlers import Handlers
from tandem.shared.tasks.spec import Output, Queue


@dataclass(kw_only=True)
class LlmContext:
    """One attempt: the providers to ask, what they have cost so far, and who was asked last."""

    job_id: str
    tickets: Tickets = field(repr=False)
    owner: str
    attempt: int
    settings: Settings
    router: Router = field(repr=False)
    usage: Usage = field(default_factory=Usage)
    beginning: Beginning = field(default_factory=Beginning, repr=False)
    asked: str | None = None
    hold: Hold = field(default=ALWAYS, repr=False)
    append: Append | None = field(default=None, repr=False)
    streamed: bool = False
    reporter: Reporter | None = field(default=None, repr=False)

    @property
    def stream(self) -> bool:
        """Whether somebody wants to see the answer come: pass it to the call whose text is the job's result."""
        return self.append is not None

    async def emit(self, text: str, *, first: bool) -> bool:
        """Append a delta to the job's events. A second answer's first one tells readers to drop the first answer's."""
        if self.append is None:
            return False
        again = first and self.streamed
        self.streamed = True
        restart = [(Kind.ATTEMPT, {"attempt": self.attempt})] if again else []
        return await self.append([*restart, (Kind.DELTA, {"text": text})])

    async def progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """Tell those who watch the job how far it is; written about ten times a second at most.

        Raises:
            ValueError: a number is negative, infinite or no number, or `done` exceeds `total`.

        """
        if self.reporter is not None:
            await self.reporter.tell(done, total, message)

    @property
    def provider(self) -> ModelClient:
        return ModelClient(self.router, self.settings, self)

    def spend(self, usage: Usage, *, provider: str) -> None:
        """Add the cost of one request to `provider`."""
        self.asked = provider
        self.usage = Usage(
            self.usage.input_tokens + usage.input_tokens,
            self.usage.output_tokens + usage.output_tokens,
            self.usage.requests + usage.requests,
            self.usage.estimated_tokens + usage.estimated_tokens,
        )


LlmHandler = Callable[[LlmContext, Any], Awaitable[Output]]
HANDLERS: Handlers[LlmHandler] = Handlers(Queue.LLM)
handles = HANDLERS.handles
