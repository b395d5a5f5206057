"""Why a job waits, as the book sees it: what its queue, its lane and the limits say now."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from tandem.shared.jobs.model import Status
from tandem.shared.store.scripts import ESTIMATES, RECORDS, Call, Flag, script
from tandem.shared.store.signature import Foreign

MODELS_KEPT = timedelta(minutes=1)  # workers say it each five seconds
NOTHING = Foreign("")
Told = Mapping[str, Mapping[str, int]]  # limits by name and kind, as `Scopes.told` says them


class Because(StrEnum):
    """Why a job waits."""

    PAUSED = "paused"
    SCHEDULED = "scheduled"
    RETRY = "retry"
    NO_WORKER = "no_worker"
    LIMITER = "limiter"
    TENANT_CONCURRENCY = "tenant_concurrency"
    TASK_CONCURRENCY = "task_concurrency"
    FAIR_ORDER = "fair_order"


@dataclass(frozen=True, kw_only=True)
class Explained:
    """Why a job waits; it does not where `because` is None.

    `name` is the limit (`provider rpm`, `provider:model tpm`) or the park (`provider:model`) that it waits for, and
    `kind` says more (limit_numbers.py); `ends` is when that, or the wait for its time, is over. `ahead` counts the jobs
    that are served before it, about; None for one whose time has not come.
    """

    status: Status
    because: Because | None = None
    name: Foreign = NOTHING
    kind: str = ""
    ends: datetime | None = None
    ahead: int | None = None
    estimated_start: datetime | None = None


@script("queues/explain", library=ESTIMATES)
def explain(id: str) -> Explained | None:
    """Say why a job waits, without changing anything; None: no such job."""


def announce(worker: str, *, models: Mapping[str, Any], limits: Told) -> Call[bool]:
    """Keep what a worker says of models, for `explain`: a gateway may not know them; and which limits it keeps.

    Answers whether the worker is known to live: else its limits are not kept.
    """
    return _announce(
        worker=worker, models=json.dumps(models), limits=json.dumps(limits, sort_keys=True), kept=MODELS_KEPT
    )


@script("limits/announce", library=RECORDS)
def _announce(*, worker: str, models: str, limits: str, kept: timedelta) -> bool: ...


def told() -> Call[list[Told]]:
    """Read the limits that live workers keep, each different version once: they should all be the same."""
    call = _told()
    return Call(call.name, call.args, lambda answer: [json.loads(text) for text in call.parse(answer)])


@script("limits/told", library=RECORDS, flag=Flag.NO_WRITES)
def _told() -> list[str]: ...
