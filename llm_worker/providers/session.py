"""One provider as all jobs of a worker process share it: limits, costs, and what its models can't do."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from tandem.llm_worker.providers.base import (
    Call,
    ChatRequest,
    Completion,
    EmbedRequest,
    Model,
    Provider,
    StreamReader,
    Vectors,
)
from tandem.llm_worker.providers.capabilities import Capabilities, CapabilityMemory
from tandem.llm_worker.providers.deltas import Deltas
from tandem.llm_worker.providers.errors import BadRequest, SchemaRefused
from tandem.llm_worker.rate_limit.gate import Exchange, Gate, Reservation
from tandem.shared.jobs.model import Usage

T = TypeVar("T")
log = logging.getLogger("tandem.llm_worker")

MOST_REQUESTS = 6  # for one answer, each without something that the one before was refused for
ONE_REQUEST = Usage(requests=1)


class Attempt(Protocol):
    """The attempt that asks: it pays, and it is told who was asked."""

    job_id: str
    usage: Usage

    async def emit(self, text: str, *, first: bool) -> bool:
        """Write one delta of a streamed answer; see `deltas.Emit`."""

    def spend(self, usage: Usage, *, provider: str) -> None:
        """Add the cost of a request."""


class ProviderSession:
    """Sends requests to one provider, each admitted by the gate and settled with it.

    Every request sent is reported to its attempt, also when it fails, is cancelled or answers garbage.
    Every failure is raised as a JobError; `errors.py` says where their types are listed.
    """

    def __init__(self, provider: Provider, gate: Gate) -> None:
        self._provider = provider
        self._gate = gate
        self._memory = CapabilityMemory()

    @property
    def name(self) -> str:
        return self._provider.name

    async def aclose(self) -> None:
        """Close all connections."""
        await self._provider.aclose()

    async def chat(self, model: Model, request: ChatRequest, attempt: Attempt) -> Completion:
        """Ask for one answer.

        Raises:
            SchemaRefused: the model takes no JSON Schema, or not this one.
            Snooze: the gate is closed.
            JobError: anything else; see the class.

        """
        if not request.stream:
            return await self._negotiate(model, request, attempt, None)
        async with Deltas(attempt.emit) as deltas:
            completion = await self._negotiate(model, request, attempt, deltas)
            if not deltas.begun:
                deltas.add(completion.text)
            return completion

    async def embed(self, model: Model, request: EmbedRequest, attempt: Attempt) -> Vectors:
        """Turn each text into a vector, in order, all of one length, which the provider decides.

        Raises:
            Snooze: the gate is closed.
            JobError: see the class.

        """
        reservation = self._reservation(model, request, attempt)
        return await self._send(self._provider.embed(model, request), reservation, attempt, None)

    async def _negotiate(
        self, model: Model, request: ChatRequest, attempt: Attempt, deltas: Deltas | None
    ) -> Completion:
        """Ask with all that the model can do; leave out what it refuses, and remember that."""
        can = self._memory.of(model.alias)
        refused: dict[Capabilities, BadRequest] = {}
        while True:
            if request.schema is not None and not can.json_schema:
                self._memory.remember(model.alias, can)
                raise SchemaRefused(f"{model.alias} of {self.name} takes no JSON Schema")
            call = self._provider.chat(model, request, can)
            try:
                completion = await self._send(call, self._reservation(model, request, attempt), attempt, deltas)
            except BadRequest as error:
                refused[can] = error
                less = self._provider.learn(error, call, can)
                if less in refused:
                    # Each of two ways to say the same was refused: it is the value. Nothing to remember.
                    raise refused[less] from None
                if less is None or len(refused) == MOST_REQUESTS:
                    self._memory.remember(model.alias, can)
                    raise
                can = less
            else:
                self._memory.remember(model.alias, can)
                return completion

    def _reservation(self, model: Model, request: ChatRequest | EmbedRequest, attempt: Attempt) -> Reservation:
        return Reservation(
            job_id=attempt.job_id,
            provider=self.name,
            model=model.alias,
            embeds=isinstance(request, EmbedRequest),
            texts=request.texts,
            max_output_tokens=request.max_output_tokens if isinstance(request, ChatRequest) else None,
            begun=bool(attempt.usage.requests),
        )

    async def _send(self, call: Call[T], reservation: Reservation, attempt: Attempt, deltas: Deltas | None) -> T:
        """Send one HTTP request, as soon as the gate lets it pass."""
        async with self._gate.admit(reservation) as exchange:
            attempt.spend(ONE_REQUEST, provider=self.name)
            try:
                with self._logged(reservation.model, exchange):
                    return await self._exchange(call, exchange, deltas)
            finally:
                if exchange.usage:
                    attempt.spend(exchange.usage, provider=self.name)

    async def _exchange(self, call: Call[T], exchange: Exchange, deltas: Deltas | None) -> T:
        if call.reader is not None:
            return await self._streamed(call, call.reader(exchange), exchange, deltas)
        return self._read(call, exchange, await self._provider.send(call, exchange))

    async def _streamed(self, call: Call[T], reader: StreamReader[T], exchange: Exchange, deltas: Deltas | None) -> T:
        def on_piece(piece: bytes | None) -> bool:
            text = reader.feed(piece)
            if deltas:
                deltas.add(text)
            return reader.done

        content = await self._provider.stream(call, exchange, on_piece)
        return reader.result() if content is None else self._read(call, exchange, content)

    def _read(self, call: Call[T], exchange: Exchange, content: bytes) -> T:
        if not exchange.succeeded:
            raise self._provider.classify(call, exchange, content)
        return call.parse(content, exchange)

    @contextmanager
    def _logged(self, model: str, exchange: Exchange) -> Iterator[None]:
        """Write one line about the call: how it was answered, and the provider's own id for it."""
        began = time.monotonic()
        try:
            yield
        finally:
            said = {"model": model, "seconds": round(time.monotonic() - began, 3)}
            if theirs := exchange.headers.get("x-request-id"):
                said["provider_request"] = theirs[:100]
            log.info("%s answered %s", self.name, exchange.status or "nothing", extra=said)
