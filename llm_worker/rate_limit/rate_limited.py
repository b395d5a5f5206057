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
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Protocol

from tandem.llm_worker.rate_limit import estimate
from tandem.llm_worker.rate_limit.gate import Exchange, Reservation
from tandem.llm_worker.rate_limit.limiter import Limiter
from tandem.llm_worker.rate_limit.model import Grant, Limits, Scope, seen
from tandem.shared.config.settings import Settings
from tandem.shared.errors import JobError, RateLimited, Unreachable

log = logging.getLogger("tandem.llm_worker")

# What only the operator can mend: said once at ERROR, and again after the provider has answered in between.
OPERATOR = frozenset({"insufficient_quota", "invalid_credentials"})
REFUSED = 400  # from this status on nothing was used


class Scopes:
    """Whose limits a request must pass, by the settings."""

    def __init__(
        self, providers: Mapping[str, Limits], models: Mapping[str, Limits], *, defaults: Sequence[str] = ()
    ) -> None:
        self._providers = providers
        self._models = models
        self._known = {*models, *defaults}

    @classmethod
    def of(cls, settings: Settings, *, default: str) -> "Scopes":
        """Read the config file; TANDEM_LLM_RPM and _TPM fill what it leaves open for the `default` provider."""
        config = settings.config
        providers = {name: _limits(part) for name, part in (config.providers if config else {}).items()}
        own = providers.get(default, Limits())
        providers[default] = Limits(
            rpm=own.rpm or settings.llm_rpm, tpm=own.tpm or settings.llm_tpm, concurrency=own.concurrency
        )
        models = {title: _limits(part) for title, part in (config.models if config else {}).items()}
        return cls(providers, models, defaults=(settings.model, settings.embed_model))

    def scope(self, provider: str, model: str) -> Scope:
        """Name a provider's model with its limits."""
        none = Limits()
        limits = self._providers.get(provider, none), self._models.get(model, none)
        return Scope(provider, model, *limits, known=model in self._known)


class _Limited(Protocol):
    @property
    def rpm(self) -> int | None: ...
    @property
    def tpm(self) -> int | None: ...
    @property
    def concurrency(self) -> int | None: ...


def _limits(part: _Limited) -> Limits:
    return Limits(rpm=part.rpm, tpm=part.tpm, concurrency=part.concurrency)


class RateLimitedGate:
    """A `Gate`: limits and parks over all worker processes."""

    def __init__(self, limiter: Limiter, scopes: Scopes) -> None:
        self._limiter = limiter
        self._scopes = scopes
        self._tickets: set[str] = set()
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
        tokens, sort = (estimate.tokens(reservation), estimate.sort(reservation)) if scope.limited else (1, "")
        with self._ticket(reservation) as ticket:
            async with self._limiter.admitted(
                scope,
                ticket=ticket,
                tokens=tokens,
                sort=sort,
                may_snooze=not reservation.begun,
                urgent=reservation.begun,  # what a job has begun goes before what would begin: it ends sooner
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
                    self._settle(exchange, grant)
                    if exchange.status is not None and not isinstance(sys.exception(), Unreachable):
                        self._limiter.answered(scope)

    async def _note_failure(self, scope: Scope, reservation: Reservation, error: Unreachable) -> None:
        """Park the model if it is down by what we know now; then this is an outage, and not the job's failure."""
        left = await self._limiter.failed(scope, job_id=reservation.job_id, refused=error.refused)
        if left:
            error.down = True
            error.retry_after = max(error.retry_after or left, left)

    @contextmanager
    def _ticket(self, reservation: Reservation) -> Iterator[str]:
        """Name the request alike when its job comes back for it, and apart from others of the job at this moment."""
        number = 0
        while (ticket := f"{reservation.job_id}:{reservation.model}:{number}") in self._tickets:
            number += 1
        self._tickets.add(ticket)
        try:
            yield ticket
        finally:
            self._tickets.discard(ticket)

    def _settle(self, exchange: Exchange, grant: Grant) -> None:
        if grant.ticket is None:
            return
        used: int | None = grant.tokens  # sent, and nobody knows what became of it
        if not exchange.sent:
            used = None
        elif exchange.usage:
            used = exchange.usage.input_tokens + exchange.usage.output_tokens
        elif exchange.status is not None and exchange.status >= REFUSED:
            used = 0
        self._limiter.settle(grant, tokens=used, seen=seen(exchange.headers))

    def _report(self, reservation: Reservation, error: JobError) -> None:
        if error.type in OPERATOR and (reservation.provider, error.type) not in self._reported:
            self._reported.add((reservation.provider, error.type))
            log.error("%s takes no requests of ours, %s: %s", reservation.provider, error.type, error.message)
