"""How long an attempt may take and when it is tried again: by its task's spec, or by what plain RQ was told."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pydantic import ValidationError

from tandem.shared.errors import FinalError, Snooze
from tandem.shared.store.commands import Lease
from tandem.shared.tasks.registry import load
from tandem.shared.tasks.spec import RetryPolicy
from tandem.sync_worker.compat_rq.jobs import NativeCall

CATALOG = load()
DEPLOY = timedelta(minutes=10)  # as long as old and new workers may run beside each other
ANOTHER_WORKER = timedelta(seconds=2)


@dataclass(frozen=True)
class Plan:
    """What the parent of a running job keeps to."""

    timeout: timedelta
    retry: RetryPolicy


def plan_of(lease: Lease) -> Plan:
    """Read the plan of a leased job.

    Raises:
        Snooze: this worker does not know the task: another one may, as there are two kinds during a deploy.
        FinalError: no worker has known it for ten minutes, or the stored call can't be read.

    """
    if lease.native:
        try:
            call = NativeCall.model_validate_json(lease.payload)
        except ValidationError:
            raise FinalError("the stored call is not valid", type="invalid_input") from None
        return Plan(timedelta(seconds=call.timeout), call.policy)
    if lease.task not in CATALOG:
        if datetime.now(UTC) - lease.created_at < DEPLOY:
            raise Snooze(ANOTHER_WORKER)
        raise FinalError(f"no worker knows the task {lease.task!r}", type="unknown_task")
    spec = CATALOG[lease.task]
    return Plan(spec.timeout, spec.retry)
