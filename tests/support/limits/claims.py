"""Jobs that wait in lanes, and the limits that a claim is told of."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from ulid import ULID

from tandem.shared.config.file import ModelConfig
from tandem.shared.jobs.model import Usage
from tandem.shared.jobs.submission import Options, Submission
from tandem.shared.limits.model import Limits
from tandem.shared.limits.scopes import Scopes
from tandem.shared.store import leases
from tandem.shared.store.leases import NO_MODELS, Lease, Success
from tandem.shared.store.scripts import Call
from tandem.shared.store.submission import store_job
from tandem.shared.tasks.spec import Priority
from tests.support.jobs import PLENTY, TTL
from tests.support.limits.limiter_script import Clocked

Models = Mapping[str, Any]


def models(provider: Limits, **own: ModelConfig) -> Models:
    """Say what limits the models of the provider `p`."""
    return Scopes({"p": provider}, own, default="p").table()


@dataclass(frozen=True)
class Work:
    """A job's first request: the tokens that it reserves, those that it really uses, and whose it is."""

    tokens: int = 1
    used: int = 1
    model: str = "m"
    sort: str = ""
    owner: str = "ann"
    priority: Priority = Priority.NORMAL
    expires_in: timedelta | None = None

    def job(self) -> Submission:
        return Submission(
            id=str(ULID()),
            queue="llm",
            task="chat",
            owner=self.owner,
            payload="{}",
            max_attempts=3,
            request_id="r",
            options=Options(priority=self.priority, expires_in=self.expires_in),
            lane=f"{self.tokens} {self.sort} {self.model}",
        )


def store(jobs: Sequence[Submission]) -> list[Call[Any]]:
    return [store_job(job, PLENTY) for job in jobs]


def put_all(clocked: Clocked, *work: Work) -> list[str]:
    """Submit them; gives their ids."""
    jobs = [one.job() for one in work]
    clocked.call_all(store(jobs))
    return [job.id for job in jobs]


def claim(limit: int, limited: Models, worker: str = "w", *, idle: int = 0) -> leases.Claim:
    return leases.claim_llm(worker=worker, limit=limit, ttl=TTL, suspects=1, idle=idle, models=limited)


def succeeded(lease: Lease, used: int) -> Call[bool]:
    """End an attempt that used so many tokens."""
    return leases.succeed(lease, Success("{}"), usage=Usage(input_tokens=used, requests=1), ttl=TTL)


def take(clocked: Clocked, limit: int = 1) -> list[Lease]:
    """Claim as many as may start now, where nothing is limited."""
    leased: list[Lease] = clocked.call(claim(limit, NO_MODELS)).leases
    return leased


def turns(clocked: Clocked, count: int, ends: Mapping[str, Callable[[Clocked, Lease], None]]) -> Counter[str]:
    """Run so many jobs one after the other; gives how many of each owner.

    A run of an owner in `ends` ends by that, any other one succeeds with 300 tokens.
    """
    served = Counter[str]()
    for _ in range(count):
        [lease] = take(clocked)
        served[lease.owner] += 1
        if end := ends.get(lease.owner):
            end(clocked, lease)
        else:
            clocked.call(succeeded(lease, 300))
    return served
