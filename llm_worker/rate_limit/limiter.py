"""Rate limits of LLM providers, kept by all worker processes together in Redis. See docs/reference/limits.md.

A job's first request has passed them when the job is claimed; what comes after waits here, in place.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from tandem.llm_worker.rate_limit.batch import Batch
from tandem.llm_worker.rate_limit.gate import takes_no_requests
from tandem.llm_worker.rate_limit.parks import ParkNews
from tandem.llm_worker.rate_limit.tickets import LATE, Tickets
from tandem.llm_worker.rate_limit.time_limit import standing_still
from tandem.shared.errors import Snooze
from tandem.shared.limits.model import RequestTooLarge, Scope, Seen
from tandem.shared.limits.numbers import BUSY, DOWN, PARK_LOOK_US, PARKED_REASON, US
from tandem.shared.runtime.redis_client import AsyncClient
from tandem.shared.store.executor import AsyncBook
from tandem.shared.store.limits.operations import Granted, Operation, Parked, TooLarge, Waiting

log = logging.getLogger("tandem.limiter")

IN_PLACE = timedelta(seconds=1)  # a longer park gives a job back that has asked nothing yet
PATIENCE = timedelta(hours=1)  # in mid-attempt: giving the job back would throw away what it has
PARK_LOOK = PARK_LOOK_US * US  # who waits for the end of a park keeps its place in line by coming so often
CLOSING = 2.0  # seconds for what is not settled when the process ends


@dataclass(frozen=True)
class Grant:
    """The right to send one request after `delay`. `ticket` is None where nothing is to be settled."""

    ticket: str | None
    tokens: int
    delay: timedelta = timedelta()


@dataclass(frozen=True)
class Wait:
    """Come again with the same ticket after `delay`. `reason` is the limit, or `parked`."""

    delay: timedelta
    reason: str


class Limiter:
    """One per worker process. Nothing is sent to Redis for a scope without limits that is not parked.

    `listening` is a client of its own for the news of parks, without a time-out.
    """

    def __init__(self, book: AsyncBook, listening: AsyncClient) -> None:
        self._batch = Batch(book)
        self.parks = ParkNews(listening, self._batch)
        self._held: set[str] = set()

    @classmethod
    def open(cls, book: AsyncBook, listening: AsyncClient) -> "Limiter":
        """Start listening for parks."""
        limiter = cls(book, listening)
        limiter.parks.start()
        return limiter

    async def aclose(self) -> None:
        """Send what is not sent yet, and stop. The clients are the caller's."""
        await self.parks.stop()
        await self._batch.drain(CLOSING)

    async def acquire(
        self, scope: Scope, *, ticket: str, tokens: int, sort: str = "", waited: timedelta = timedelta(), why: str = ""
    ) -> Grant | Wait:
        """Reserve one request of `tokens` with all limits of `scope`, or with none of them; one round trip.

        Of each `sort` of requests it learns which share of the tokens is really used, and charges that. Come again
        with the same ticket after a Wait, telling how long it has `waited` and `why`: who has waited longest is first,
        before all jobs that have not begun. While Redis is away, this waits for it.

        Raises:
            RequestTooLarge: no minute has room for so many tokens.

        """
        if not scope.limited and not await self.parks.knows(scope.name):
            if why:
                self._leave(scope, ticket)  # the park is over, and its line
            return Grant(None, tokens)
        operation: Operation = {"op": "acquire", "ticket": ticket, "tokens": tokens, "sort": sort}
        operation |= {"waited": waited // US, "why": why, "levels": scope.levels(), "scope": scope.name}
        try:
            answer = await self._batch.post(operation)
        except asyncio.CancelledError:
            self._leave(scope, ticket)  # operations keep their order: whatever was given is given back
            raise
        match answer:
            case Granted(delay):
                self._held.add(ticket)
                return Grant(ticket, tokens, delay * US)
            case Waiting(delay, reason):
                return Wait(delay * US, reason)
            case TooLarge(name, limit):
                raise RequestTooLarge(f"the request needs about {tokens} tokens, and {name} allows {limit} a minute")
        raise AssertionError(answer)  # the script answers an acquire with one of these

    def settle(self, grant: Grant, *, tokens: int | None, seen: Seen | None = None, answered: bool = False) -> None:
        """End a grant with the tokens that were really used, None if nothing was sent.

        `seen` is what the provider's headers say is left, `answered` whether the provider answered at all. This does
        not wait for Redis: it goes with what is next.
        """
        if grant.ticket is not None:
            self.give_back(grant.ticket, tokens=tokens, seen=seen, answered=answered)

    def give_back(
        self, ticket: str, *, tokens: int | None = None, seen: Seen | None = None, answered: bool = False
    ) -> None:
        """End what a ticket holds; see `settle`."""
        self._held.discard(ticket)
        operation: Operation = {"op": "settle", "ticket": ticket, "answered": answered}
        if tokens is not None:
            operation["tokens"] = tokens
        if seen:
            # A list would end at the first null.
            operation["seen"] = {kind: [limit or 0, remaining] for kind, (limit, remaining) in seen.items()}
        self._batch.post(operation)

    def _leave(self, scope: Scope, ticket: str) -> None:
        self._held.discard(ticket)
        self._batch.post({"op": "leave", "ticket": ticket, "levels": scope.levels(), "scope": scope.name})

    async def park(self, scope: Scope, delay: timedelta | None) -> timedelta:
        """Keep every worker from this provider's model for `delay`; answers how long it is parked now.

        None: the provider did not say; a second first, each time twice as long, at most a minute. Then one request
        tries it, and only its answer lets the others follow.
        """
        operation: Operation = {"op": "park", "scope": scope.name, "label": scope.label}
        if delay is not None:
            operation["delay"] = delay // US
        return await self._parked(scope, operation, BUSY)

    async def failed(self, scope: Scope, *, job_id: str, refused: bool) -> timedelta:
        """Tell that a request of this job got no answer; answers how long the model is parked now, zero if it is not.

        It is once that has happened to three jobs in a row, or to one whose request was `refused`, that is not even
        received: for a second first, each time twice as long, at most five, until somebody gets an answer.
        """
        operation: Operation = {"op": "failed", "scope": scope.name, "job": job_id, "refused": refused}
        return await self._parked(scope, operation, DOWN)

    async def _parked(self, scope: Scope, operation: Operation, kind: str) -> timedelta:
        answer = await self._batch.post(operation)
        left = answer.left * US if isinstance(answer, Parked) else timedelta()
        self.parks.note(scope.name, left, kind)
        return left

    def answered(self, scope: Scope) -> None:
        """Tell that somebody got an answer; costs nothing where nobody has failed before."""
        if self.parks.forget_failure(scope.name):
            self._batch.post({"op": "answered", "scope": scope.name})

    def parked(self, scope: Scope) -> timedelta:
        """How long the scope is still parked, as far as this process has heard; zero if it is not."""
        return self.parks.left(scope.name)

    def down(self, scope: Scope) -> bool:
        """Whether it is parked because nobody there answers."""
        return bool(self.parked(scope)) and self.parks.kind(scope.name) == DOWN

    @asynccontextmanager
    async def admitted(
        self, scope: Scope, tickets: Tickets, *, tokens: int, sort: str = "", may_snooze: bool
    ) -> AsyncIterator[Grant]:
        """Wait until one request may be sent; the block sends it and settles the grant.

        A block that ends without settling is taken as one that sent the request and does not know what it cost:
        the tokens stay charged.

        Raises:
            Snooze: it is parked for more than a second and the attempt has done nothing yet (`may_snooze`).
            RequestTooLarge: no minute has room for so many tokens.

        """
        grant = await self._of_claim(scope, tickets, tokens) or await self._in_place(
            scope, tickets.next(), tokens, sort, may_snooze=may_snooze
        )
        try:
            yield grant
        finally:
            if grant.ticket in self._held:
                self.settle(grant, tokens=grant.tokens)

    async def _of_claim(self, scope: Scope, tickets: Tickets, tokens: int) -> Grant | None:
        """Take what the claim has got for this run."""
        delay = tickets.take(scope.name)
        if delay is None:
            if unused := tickets.unused():  # of another model, or slept through
                self.give_back(unused)
            return None
        self._held.add(tickets.first)
        try:
            await asyncio.sleep(delay.total_seconds())
        except asyncio.CancelledError:
            self.give_back(tickets.first)
            raise
        return Grant(tickets.first, tokens)

    async def _in_place(self, scope: Scope, ticket: str, tokens: int, sort: str, *, may_snooze: bool) -> Grant:
        """Come again and again, in the line of those who wait."""
        since, why = time.monotonic(), ""
        while True:
            waited = timedelta(seconds=time.monotonic() - since) if why else timedelta()
            place = await self.acquire(scope, ticket=ticket, tokens=tokens, sort=sort, waited=waited, why=why)
            if isinstance(place, Wait):
                why = place.reason
                if self._gives_up(place, waited, may_snooze=may_snooze):
                    self._leave(scope, ticket)
                    raise Snooze(place.delay, begun=False, why=self._why(scope, place))
            due = time.monotonic() + place.delay.total_seconds()
            await self._sleep(scope, ticket, place)
            if isinstance(place, Wait):
                continue
            if time.monotonic() - due < LATE:
                return place
            self._leave(scope, ticket)  # the process was stopped meanwhile: that start has passed

    def _gives_up(self, place: Wait, waited: timedelta, *, may_snooze: bool) -> bool:
        """A park is not waited for by who has asked nothing yet; nothing is waited for for ever."""
        if may_snooze and place.reason == PARKED_REASON:
            return place.delay > IN_PLACE
        return waited + place.delay > PATIENCE

    def _why(self, scope: Scope, place: Wait) -> str:
        if place.reason == PARKED_REASON:
            return takes_no_requests(scope.name, is_down=self.down(scope))
        return f"the limit {place.reason} has no room for long"

    async def _sleep(self, scope: Scope, ticket: str, place: Grant | Wait) -> None:
        try:
            with standing_still():
                if isinstance(place, Wait) and place.reason == PARKED_REASON:
                    await self.parks.lifted(scope.name, min(place.delay, PARK_LOOK))
                else:
                    await asyncio.sleep(place.delay.total_seconds())
        except asyncio.CancelledError:
            self._leave(scope, ticket)
            raise
