"""How long an attempt may take and when it is tried again: by its task's spec, or by what plain RQ was told."""

from dataclasses import dataclass
from datetime import timedelta

from pydantic import ValidationError

from tandem.shared.errors import FinalError
from tandem.shared.store.leases import Lease
from tandem.shared.tasks.registry import load
from tandem.shared.tasks.spec import RetryPolicy
from tandem.sync_worker.compat_rq.jobs import RqCall

CATALOG = load()


@dataclass(frozen=True)
class Plan:
    """What the parent of a running job keeps to."""

    timeout: timedelta
    retry: RetryPolicy


def is_known(lease: Lease) -> bool:
    """Tell whether this worker can run it; jobs of plain RQ name what they call."""
    return bool(lease.native) or lease.task in CATALOG


def plan_of(lease: Lease) -> Plan:
    """Read the plan of a leased job that this worker knows.

    Raises:
        FinalError: the stored call of plain RQ can't be read.

    """
    if not lease.native:
        spec = CATALOG[lease.task]
        return Plan(spec.timeout, spec.retry)
    try:
        call = RqCall.model_validate_json(lease.payload)
    except ValidationError:
        raise FinalError("the stored call is not valid", type="invalid_input") from None
    return Plan(timedelta(seconds=call.timeout), call.policy)
