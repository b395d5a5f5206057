"""How long an attempt may take and when it is tried again: by its task's spec, or by what plain RQ was told."""

from dataclasses import dataclass
from datetime import timedelta

from shared.catalog import load
from shared.spec import RetryPolicy
from shared.store import Lease
from sync_worker.native import NativeCall

CATALOG = load()


@dataclass(frozen=True)
class Plan:
    """What the parent of a running job keeps to."""

    timeout: timedelta
    retry: RetryPolicy


def plan_of(lease: Lease) -> Plan:
    """Read the plan of a leased job."""
    if lease.native:
        call = NativeCall.model_validate_json(lease.payload)
        return Plan(timedelta(seconds=call.timeout), call.policy)
    spec = CATALOG[lease.task]
    return Plan(spec.timeout, spec.retry)
