"""What a handler asks models with."""

import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, Protocol, TypeVar

from tandem.llm_worker.generation.deltas import Deltas
from tandem.llm_worker.providers.base import ChatRequest, Completion, EmbedRequest, Vectors
from tandem.llm_worker.providers.router import Route, Router
from tandem.llm_worker.providers.session import Attempt
from tandem.llm_worker.rate_limit.limiter import PATIENCE
from tandem.llm_worker.rate_limit.time_limit import wait
from tandem.shared.config.settings import Settings
from tandem.shared.errors import RateLimited, Snooze, Unreachable
from tandem.shared.tasks.catalog.llm import Message
from tandem.shared.types.backoff import Backoff

T = TypeVar("T")
log = logging.getLogger("tandem.llm_worker")

MOST_FAILURES = 5  # of one request, while the provider answers others
AGAIN = Backoff(base=timedelta(seconds=1), cap=timedelta(seconds=30))


class StreamingAttempt(Attempt, Protocol):
    """An attempt whose readers may watch an answer come."""

    async def emit(self, text: str, *, first: bool) -> bool:
        """Write one delta of a streamed answer; see `deltas.Emit`."""


class ModelClient:
    """The providers as one attempt sees them: it names a model or none, and the router finds who answers.

    Raises of both calls:
        Snooze: no provider takes it now.
        JobError: the request failed; `providers/errors.py` lists what another request may answer.
    """

    def __init__(self, router: Router, settings: Settings, attempt: StreamingAttempt) -> None:
        self._router = router
        self._settings = settings
        self._attempt = attempt

    async def chat(
        self,
        messages: Sequence[Message],
        *,
        model: str | None = None,
        temperature: float | None = None,
        max_output_tokens: int | None = None,
        schema: dict[str, Any] | None = None,
        stream: bool = False,
    ) -> Completion:
        """Ask for one answer, with `schema` for one in JSON of that schema; `stream` also emits it as it comes.

        Raises:
            SchemaRefused: the model takes no JSON Schema, or not this one.

        """
        request = ChatRequest(
            messages=messages,
            temperature=temperature,
            max_output_tokens=max_output_tokens,
            schema=schema,
            stream=stream,
        )
        return await self._ask(model or self._settings.model, lambda route: self._chat(route, request))

    async def _chat(self, route: Route, request: ChatRequest) -> Completion:
        if not request.stream:
            return await route.provider.chat(route.model, request, attempt=self._attempt)
        async with Deltas(self._attempt.emit) as deltas:
            completion = await route.provider.chat(route.model, request, attempt=self._attempt, on_text=deltas.add)
            if deltas.text == completion.text:
                return completion
        # It did not stream, or what it thought first could be told apart only at its end: readers begin anew.
        async with Deltas(self._attempt.emit) as whole:
            whole.add(completion.text)
        return completion

    async def embed(self, texts: Sequence[str], *, model: str | None = None, dimensions: int | None = None) -> Vectors:
        """Turn each text into a vector, in order, all of one length, which the provider decides."""
        request = EmbedRequest(texts=tuple(texts), dimensions=dimensions)
        return await self._ask(
            model or self._settings.embed_model,
            lambda route: route.provider.embed(route.model, request, attempt=self._attempt),
        )

    async def _ask(self, model: str, send: Callable[[Route], Awaitable[T]]) -> T:
        """Ask; in the midst of an attempt again and again, as what it has would be lost with it."""
        asked = 0
        until = time.monotonic() + PATIENCE.total_seconds()
        while True:
            try:
                return await self._router.call(model, send)
            except (Snooze, RateLimited, Unreachable) as error:
                asked += 1
                delay = _pause(error, asked)
                if not self._attempt.beginning.begun or time.monotonic() + delay.total_seconds() > until:
                    raise
                if isinstance(error, Unreachable) and not error.down and asked == MOST_FAILURES:
                    raise
                log.info("asked again in %.1f s: %s", delay.total_seconds(), error)
            await wait(delay)

    def context_window(self, model: str | None = None) -> int:
        """Give the tokens that the model's window holds."""
        return self._router.context_window(model or self._settings.model)


def _pause(error: Snooze | RateLimited | Unreachable, asked: int) -> timedelta:
    """Wait as long as the error says, or longer each time."""
    if isinstance(error, Snooze):
        return error.delay
    return error.retry_after or AGAIN.delay(asked, jitter=random.random())  # noqa: S311
