"""One provider as all jobs of a worker process share it: limits, costs, and what its models can't do."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from dataclasses import replace
from typing import Protocol, TypeVar

from tandem.llm_worker.providers.base import (
    Call,
    ChatRequest,
    Completion,
    EmbedRequest,
    Model,
    OnPiece,
    Provider,
    StreamReader,
    Vectors,
)
from tandem.llm_worker.providers.beginning import Admit, Beginning
from tandem.llm_worker.providers.capabilities import Capabilities, CapabilityMemory
from tandem.llm_worker.providers.errors import BadRequest, SchemaRefused
from tandem.llm_worker.providers.hold import Hold, NotKnown
from tandem.llm_worker.rate_limit.gate import Exchange, Gate, Reservation
from tandem.llm_worker.rate_limit.tickets import Tickets
from tandem.llm_worker.tokens import estimate
from tandem.shared.jobs.model import Usage

T = TypeVar("T")
log = logging.getLogger("tandem.llm_worker")

MOST_REQUESTS = 6  # for one answer, each without something that the one before was refused for
ONE_REQUEST = Usage(requests=1)

OnText = Callable[[str], None]


class Attempt(Protocol):
    """The attempt that asks: it pays, and it is told who was asked."""

    job_id: str
    tickets: Tickets
    beginning: Beginning
    hold: Hold

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

    async def chat(
        self, model: Model, request: ChatRequest, *, attempt: Attempt, on_text: OnText | None = None
    ) -> Completion:
        """Ask for one answer; `on_text` is given the text of a streamed one, as it comes.

        What the model refuses is left out of another request, and remembered.

        Raises:
            SchemaRefused: the model takes no JSON Schema, or not this one.
            Snooze: the gate is closed.
            JobError: anything else; see the class.

        """

        def write(can: Capabilities) -> Call[Completion]:
            if request.schema is not None and not can.json_schema:
                self._memory.remember(model.alias, can)
                raise SchemaRefused(f"{model.alias} of {self.name} takes no JSON Schema")
            return self._provider.chat(model, request, can)

        return await self._ask(write, model, request, attempt=attempt, on_text=on_text)

    async def embed(self, model: Model, request: EmbedRequest, *, attempt: Attempt) -> Vectors:
        """Turn each text into a vector, in order, all of one length, which the provider decides.

        Raises:
            Snooze: the gate is closed.
            JobError: see the class.

        """

        def write(can: Capabilities) -> Call[Vectors]:
            return self._provider.embed(model, request, can)

        return await self._ask(write, model, request, attempt=attempt)

    async def _ask(
        self,
        write: Callable[[Capabilities], Call[T]],
        model: Model,
        request: ChatRequest | EmbedRequest,
        *,
        attempt: Attempt,
        on_text: OnText | None = None,
    ) -> T:
        """Send what `write` makes of what the model can do, until nothing of it is refused."""
        can = self._memory.of(model.alias)
        refused: dict[Capabilities, BadRequest] = {}
        while True:
            call = write(can)
            try:
                answer = await self._send(call, model, request, attempt=attempt, on_text=on_text)
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
                return answer

    async def _send(
        self,
        call: Call[T],
        model: Model,
        request: ChatRequest | EmbedRequest,
        *,
        attempt: Attempt,
        on_text: OnText | None = None,
    ) -> T:
        """Send one HTTP request, as soon as the gate lets it pass and the job is known to be this attempt's still."""
        reservation = Reservation(
            job_id=attempt.job_id,
            tickets=attempt.tickets,
            provider=self.name,
            model=model.alias,
            embeds=isinstance(request, EmbedRequest),
            texts=request.texts,
            max_output_tokens=request.max_output_tokens if isinstance(request, ChatRequest) else None,
            begun=False,
        )

        def admit(begun: bool) -> AbstractAsyncContextManager[Exchange]:  # noqa: FBT001 - as a Beginning calls it
            return self._gate.admit(replace(reservation, begun=begun))

        while True:
            await attempt.hold.sure()
            with suppress(NotKnown):
                return await self._send_admitted(admit, call, model, request, attempt=attempt, on_text=on_text)

    async def _send_admitted(
        self,
        admit: Admit,
        call: Call[T],
        model: Model,
        request: ChatRequest | EmbedRequest,
        *,
        attempt: Attempt,
        on_text: OnText | None,
    ) -> T:
        async with attempt.beginning.request(admit) as exchange:
            if not attempt.hold.known:
                raise NotKnown  # its worker was suspended while it waited: its place in the limit is given back
            try:
                with self._logged(model, exchange):
                    return await self._exchange(call, request, exchange, on_text)
            finally:
                if exchange.sent:
                    attempt.spend(ONE_REQUEST, provider=self.name)
                if usage := exchange.usage or exchange.estimate:
                    attempt.spend(usage, provider=self.name)

    async def _exchange(
        self, call: Call[T], request: ChatRequest | EmbedRequest, exchange: Exchange, on_text: OnText | None
    ) -> T:
        """Send it and read the answer."""
        if call.reader is None:
            content = await self._provider.send(call, exchange)
        else:
            reader = call.reader(exchange)
            with _estimated(request, reader, exchange):
                streamed = await self._provider.stream(call, exchange, _piecewise(reader, on_text))
                if streamed is None:
                    return reader.result()
            content = streamed
        if not exchange.succeeded:
            raise self._provider.classify(call, exchange, content)
        return call.parse(content, exchange)

    @contextmanager
    def _logged(self, model: Model, exchange: Exchange) -> Iterator[None]:
        """Write one line about the call: how it was answered, and the provider's own id for it."""
        began = time.monotonic()
        try:
            yield
        finally:
            said = {"model": model.alias, "seconds": round(time.monotonic() - began, 3)}
            if theirs := exchange.headers.get("x-request-id"):
                said["provider_request"] = theirs[:100]
            log.info("%s answered %s", self.name, exchange.status or "nothing", extra=said)


@contextmanager
def _estimated(request: ChatRequest | EmbedRequest, reader: StreamReader[T], exchange: Exchange) -> Iterator[None]:
    """Estimate what an answer costs that is cancelled or breaks off: usage comes at the end of a stream."""
    try:
        yield
    except BaseException:
        if reader.received:
            written, said = sum(map(estimate, request.texts)), estimate(reader.received)
            exchange.estimate = Usage(written, said, estimated_tokens=written + said)
        raise


def _piecewise(reader: StreamReader[T], on_text: OnText | None) -> OnPiece:
    def on_piece(piece: bytes | None) -> bool:
        text = reader.feed(piece)
        if on_text:
            on_text(text)
        return reader.done

    return on_piece
