"""The gate that keeps limits: each HTTP request reserves before it is sent, and is settled after.

On a 429 (told by `providers/openai_compatible/errors.py`, as a RateLimited error) the model is parked here, for every
worker, for the provider's `retry_after` or a time that doubles. Meanwhile `providers/router.py` asks a fallback if the
park is longer than the model's `fallback_after`, `shared/jobs/retry.py` puts the job back without burning an attempt
(MAX_THROTTLED times), and who comes to the parked model is put back by a Snooze of `limiter.py`: nothing is sent.

Where nobody answers (an Unreachable error of several jobs in a row, or a refused connection) the model is parked as
down, with pauses that grow until somebody gets an answer: fallbacks are asked at once, and no attempt is burnt.
"""

import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from tandem.llm_worker.rate_limit.estimate import need_of
from tandem.llm_worker.rate_limit.gate import Exchange, Reservation
from tandem.llm_worker.rate_limit.limiter import Grant, Limiter
from tandem.llm_worker.rate_limit.tickets import Tickets
from tandem.shared.errors import JobError, RateLimited, Unreachable
from tandem.shared.limits.model import Scope, seen
from tandem.shared.limits.scopes import Scopes
from tandem.shared.tasks.forecast import Forecast

log = logging.getLogger("tandem.llm_worker")

# What only the operator can mend: said once at ERROR, and again after the provider has answered in between.
OPERATOR = frozenset({"insufficient_quota", "invalid_credentials"})
NOTHING = Forecast(model=None, embeds=False, tokens=1, sort="")  # of what no limit counts
REFUSED = 400  # from this status on nothing was used


class RateLimitedGate:
    """A `Gate`: limits and parks over all worker processes."""

    def __init__(self, limiter: Limiter, scopes: Scopes) -> None:
        self._limiter = limiter
        self._scopes = scopes
        self._reported: set[tuple[str, str]] = set()

    def parked(self, provider: str, model: str) -> timedelta:
        """Tell how long the provider's model takes nothing, as far as this process knows; zero if it is free."""
        return self._limiter.parked(self._scopes.scope(provider, model))

    def down(self, provider: str, model: str) -> bool:
        """Tell whether it is parked because nobody there answers."""
        return self._limiter.down(self._scopes.scope(provider, model))

    @asynccontextmanager
    async def admit(self, reservation: Reservation) -> AsyncIterator[Exchange]:
        """Wait until the request may be sent; the block sends it.

        Raises:
            Snooze: the wait is too long to be slept here.
            RequestTooLarge: it could never be sent.

        """
        scope, exchange = self._scopes.scope(reservation.provider, reservation.model), Exchange()
        need = need_of(reservation) if scope.limited else NOTHING
        may_snooze = not reservation.begun
        async with self._limiter.admitted(
            scope, reservation.tickets, tokens=need.tokens, sort=need.sort, may_snooze=may_snooze
        ) as grant:
            try:
                yield exchange
                self._reported.difference_update({(reservation.provider, kind) for kind in OPERATOR})
            except Unreachable as error:
                await self._note_failure(scope, reservation, error)
                raise
            except RateLimited as error:
                error.retry_after = await self._limiter.park(scope, error.retry_after)
                raise
            except JobError as error:
                self._report(reservation, error)
                raise
            finally:
                answered = exchange.status is not None and not isinstance(sys.exception(), Unreachable | RateLimited)
                self._settle(exchange, grant, answered=answered)
                if answered:
                    self._limiter.answered(scope)

    def give_back(self, tickets: Tickets) -> None:
        """End what a claim has got for a run that did not use it."""
        if ticket := tickets.unused():
            self._limiter.give_back(ticket)

    async def _note_failure(self, scope: Scope, reservation: Reservation, error: Unreachable) -> None:
        """Park the model if it is down by what we know now; then this is an outage, and not the job's failure."""
        left = await self._limiter.failed(scope, job_id=reservation.job_id, refused=error.refused)
        if left:
            error.down, error.service = True, scope.name
            error.retry_after = max(error.retry_after or left, left)

    def _settle(self, exchange: Exchange, grant: Grant, *, answered: bool) -> None:
        if grant.ticket is None:
            return
        used: int | None = grant.tokens  # sent, and nobody knows what became of it
        if not exchange.sent:
            used = None
        elif exchange.usage:
            used = exchange.usage.input_tokens + exchange.usage.output_tokens
        elif exchange.status is not None and exchange.status >= REFUSED:
            used = 0
        self._limiter.settle(grant, tokens=used, seen=seen(exchange.headers), answered=answered)

    def _report(self, reservation: Reservation, error: JobError) -> None:
        if error.type in OPERATOR and (reservation.provider, error.type) not in self._reported:
            self._reported.add((reservation.provider, error.type))
            log.error("%s takes no requests of ours, %s: %s", reservation.provider, error.type, error.message)
