"""Rate limits of LLM providers, kept by all worker processes together in Redis. See docs/reference/limits.md.

Rates are kept by GCRA on Redis's clock; the algorithm and its source are in `lua/gcra.lua`.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Self
from uuid import uuid4

from tandem.llm_worker.rate_limit.batch import Batch, Operation
from tandem.llm_worker.rate_limit.model import Grant, RequestTooLarge, Scope, Seen, Wait
from tandem.llm_worker.rate_limit.script import (
    BUSY,
    DOWN,
    FAILED,
    LEASE,
    PARKED,
    US,
    Granted,
    Parked,
    Parks,
    TooLarge,
    Waiting,
)
from tandem.llm_worker.rate_limit.time_limit import wait
from tandem.shared.errors import Snooze
from tandem.shared.runtime.outage import Outage
from tandem.shared.runtime.redis_client import AsyncClient

log = logging.getLogger("tandem.limiter")

RENEW_EVERY = LEASE / 4
IN_PLACE = timedelta(seconds=1)  # a longer wait gives the job back to the queue
PATIENCE = timedelta(hours=1)  # in mid-attempt: giving the job back would throw away what it has
LATE = 1.0  # seconds; a start that is slept through for longer is not made up for beside those of others
CLOSING = 2.0  # seconds for what is not settled when the process ends


class Limiter:
    """One per worker process. Nothing is sent to Redis for a scope without limits that is not parked.

    `listening` is a client of its own for the news of parks, without a time-out.
    """

    def __init__(self, client: AsyncClient, listening: AsyncClient) -> None:
        self._id = uuid4().hex[:12]
        self._batch = Batch(client)
        self._listening = listening
        self._held: set[str] = set()
        self._parks: dict[str, tuple[float, str]] = {}  # end, by the local clock, and kind: only a hint to ask Redis
        self._failing: set[str] = set()  # who gave no answer, to somebody, and none since that we know of
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    def open(cls, client: AsyncClient, listening: AsyncClient) -> Self:
        """Start renewing leases and listening for parks."""
        limiter = cls(client, listening)
        limiter._tasks = [asyncio.create_task(task()) for task in (limiter._keep_renewing, limiter._keep_listening)]
        return limiter

    async def aclose(self) -> None:
        """Send what is not sent yet, and stop. The clients are the caller's."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._batch.drain(CLOSING)

    async def acquire(
        self, scope: Scope, *, ticket: str, tokens: int, sort: str = "", urgent: bool = False
    ) -> Grant | Wait:
        """Reserve one request of `tokens` with all limits of `scope`, or with none of them; one round trip.

        Of each `sort` of requests it learns which share of the tokens is really used, and charges that. Come again
        with the same ticket after a Wait. `urgent` goes before those who wait. While Redis is away, this waits for it.

        Raises:
            RequestTooLarge: no minute has room for so many tokens.

        """
        if not scope.limited and not self.parked(scope):
            return Grant(None, tokens)
        operation = {"op": "acquire", "ticket": ticket, "tokens": tokens, "sort": sort, "urgent": urgent}
        operation |= {"by": self._id, "levels": scope.levels(), "park": scope.name}
        try:
            answer = await self._batch.post(operation)
        except asyncio.CancelledError:
            self._settle(ticket, None, {})  # operations keep their order: whatever was given is given back
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

    def settle(self, grant: Grant, *, tokens: int | None, seen: Seen | None = None) -> None:
        """End a grant with the tokens that were really used, None if nothing was sent.

        `seen` is what the provider's headers say is left. This does not wait for Redis: it goes with what is next.
        """
        if grant.ticket is not None:
            self._settle(grant.ticket, tokens, seen or {})

    def _settle(self, ticket: str, tokens: int | None, seen: Seen) -> None:
        self._held.discard(ticket)
        operation: Operation = {"op": "settle", "ticket": ticket, "by": self._id}
        if tokens is not None:
            operation["tokens"] = tokens
        if seen:
            # A list would end at the first null.
            operation["seen"] = {kind: [limit or 0, remaining] for kind, (limit, remaining) in seen.items()}
        self._batch.post(operation)

    async def park(self, scope: Scope, delay: timedelta | None) -> timedelta:
        """Keep every worker from this provider's model for `delay`; answers how long it is parked now.

        None: the provider did not say; a second first, each time twice as long, at most a minute.
        """
        operation: Operation = {"op": "park", "park": scope.name, "label": scope.label}
        if delay is not None:
            operation["delay"] = delay // US
        answer = await self._batch.post(operation)
        left = answer.left * US if isinstance(answer, Parked) else timedelta()
        self._note(scope.name, left, BUSY)
        return left

    async def failed(self, scope: Scope, *, job_id: str, refused: bool) -> timedelta:
        """Tell that a request of this job got no answer; answers how long the model is parked now, zero if it is not.

        It is once that has happened to three jobs in a row, or to one whose request was `refused`, that is not even
        received: for a second first, each time twice as long, at most five, until somebody gets an answer.
        """
        operation: Operation = {"op": "failed", "park": scope.name, "job": job_id, "refused": refused}
        answer = await self._batch.post(operation)
        left = answer.left * US if isinstance(answer, Parked) else timedelta()
        self._note(scope.name, left, DOWN)
        return left

    def answered(self, scope: Scope) -> None:
        """Tell that somebody got an answer; costs nothing where nobody has failed before."""
        if scope.name in self._failing:
            self._failing.discard(scope.name)
            self._batch.post({"op": "answered", "park": scope.name})

    def parked(self, scope: Scope) -> timedelta:
        """How long the scope is still parked, as far as this process has heard; zero if it is not."""
        end, _ = self._parks.get(scope.name, (0.0, BUSY))
        return timedelta(seconds=max(0.0, end - time.monotonic()))

    def down(self, scope: Scope) -> bool:
        """Whether it is parked because nobody there answers."""
        return bool(self.parked(scope)) and self._parks[scope.name][1] == DOWN

    @asynccontextmanager
    async def admitted(
        self, scope: Scope, *, ticket: str, tokens: int, sort: str = "", may_snooze: bool, urgent: bool = False
    ) -> AsyncIterator[Grant]:
        """Wait until one request may be sent; the block sends it and settles the grant. `urgent` as in `acquire`.

        A block that ends without settling is taken as one that sent the request and does not know what it cost:
        the tokens stay charged.

        Raises:
            Snooze: the wait is longer than a second and the attempt has done nothing yet (`may_snooze`), or an hour.
            RequestTooLarge: no minute has room for so many tokens.

        """
        operation = partial(self.acquire, scope, ticket=ticket, tokens=tokens, sort=sort, urgent=urgent)
        grant = await self._until_granted(operation, ticket, IN_PLACE if may_snooze else PATIENCE)
        try:
            yield grant
        finally:
            if grant.ticket in self._held:
                self.settle(grant, tokens=grant.tokens)

    async def _until_granted(
        self, acquire: Callable[[], Awaitable[Grant | Wait]], ticket: str, patience: timedelta
    ) -> Grant:
        while True:
            place = await acquire()
            if isinstance(place, Wait) and place.delay > patience:
                log.debug("waits %.1f s for %s", place.delay.total_seconds(), place.reason)
                raise Snooze(place.delay, begun=False)
            due = time.monotonic() + place.delay.total_seconds()
            await self._sleep(ticket, place.delay)
            if isinstance(place, Wait):
                continue
            if time.monotonic() - due < LATE:
                return place
            self._settle(ticket, None, {})  # the process was stopped meanwhile: that start has passed

    async def _sleep(self, ticket: str, delay: timedelta) -> None:
        try:
            if delay:
                await wait(delay)
        except asyncio.CancelledError:
            self._settle(ticket, None, {})
            raise

    async def _keep_renewing(self) -> None:
        while True:
            await asyncio.sleep(RENEW_EVERY.total_seconds())
            if self._held:
                self._batch.post({"op": "renew", "tickets": sorted(self._held), "by": self._id})

    async def _keep_listening(self) -> None:
        """Hear of parks as they come; what was missed while Redis was away is read afterwards."""
        outage = Outage(log, "no news of parks")
        while True:
            try:
                async with self._listening.pubsub() as news:
                    await news.subscribe(PARKED)
                    async for message in news.listen():
                        if message["type"] == "subscribe":  # also after a lost connection
                            outage.over()
                            await self._catch_up()
                        elif message["type"] == "message":
                            delay, _, rest = message["data"].decode().partition(" ")
                            name, _, kind = rest.partition("\n")
                            self._note(name, int(delay) * US, kind or BUSY)
            except Exception as error:  # noqa: BLE001 - without the news, parks go unheard for good
                await asyncio.sleep(outage.pause(error))

    async def _catch_up(self) -> None:
        answer = await self._batch.post({"op": "parks"})
        if isinstance(answer, Parks):
            for park in answer.parks:
                self._note(park.name, park.left * US, park.kind)

    def _note(self, name: str, left: timedelta, kind: str) -> None:
        now = time.monotonic()
        self._parks = {known: park for known, park in self._parks.items() if park[0] > now}
        if kind in {DOWN, FAILED}:
            self._failing.add(name)
        if left > timedelta():
            self._parks[name] = max(self._parks.get(name, (0.0, kind)), (now + left.total_seconds(), kind))
