"""The seam around each HTTP request to a provider: who may pass when, and what came of it."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from tandem.llm_worker.rate_limit.tickets import Tickets
from tandem.shared.jobs.model import Usage


@dataclass(frozen=True, kw_only=True)
class Reservation:
    """One HTTP request that is about to be sent.

    `provider` and `model` are names of the config file, where there is one. `texts` is all that counts as input,
    `max_output_tokens` the cap that goes with the request; None: the model's own, and no output at all of embeddings.
    `begun`: the attempt has had answers already, or waits for some, which a Snooze would throw away.
    """

    job_id: str
    tickets: Tickets
    provider: str
    model: str
    embeds: bool
    texts: Sequence[str]
    max_output_tokens: int | None
    begun: bool


@dataclass(kw_only=True)
class Exchange:
    """What is known of a request, filled in while it runs: read it when the block ends.

    `sent` is False as long as nothing left for the provider, `status` None where no head of an answer came.
    Names of headers are in lower case. `usage` is None where the provider has not told it; `estimate` is then what an
    answer that broke off has probably cost.
    """

    sent: bool = False
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    usage: Usage | None = None
    estimate: Usage | None = None

    @property
    def succeeded(self) -> bool:
        """Whether the status is 2xx."""
        return self.status is not None and 200 <= self.status < 300  # noqa: PLR2004


class Gate(Protocol):
    """Lets requests to providers pass."""

    def parked(self, provider: str, model: str) -> timedelta:
        """Tell how long the provider's model takes nothing, as far as this process knows; zero if it is free."""

    def down(self, provider: str, model: str) -> bool:
        """Tell whether it is parked because nobody there answers."""

    def give_back(self, tickets: Tickets) -> None:
        """End what a claim has got for a run that did not use it."""

    def admit(self, reservation: Reservation) -> AbstractAsyncContextManager[Exchange]:
        """Wait until it may be sent; the block sends it. A request that fails leaves the block by its JobError.

        Raises:
            Snooze: the wait is too long to be slept here.
            FinalError: it could never be sent.

        """


def takes_no_requests(name: str, *, is_down: bool) -> str:
    """Say for the log of a provider's model that it is parked, and why."""
    return f"{name} takes no requests ({'nobody answers' if is_down else 'it said so'})"


class OpenGate:
    """Lets everything pass at once."""

    def parked(self, provider: str, model: str) -> timedelta:  # noqa: ARG002 - nobody parks
        return timedelta()

    def down(self, provider: str, model: str) -> bool:  # noqa: ARG002
        return False

    def give_back(self, tickets: Tickets) -> None:
        pass

    @asynccontextmanager
    async def admit(self, reservation: Reservation) -> AsyncIterator[Exchange]:  # noqa: ARG002
        yield Exchange()
