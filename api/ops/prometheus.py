"""What /metrics shows: the counters that the job book's scripts keep, in Prometheus's form.

A field of the counters' hash is a name and its labels, joined by `|`.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from tandem.shared.store.limits.explanation import Told
from tandem.shared.store.queues import QueueState
from tandem.shared.store.scripts import BOUNDS

COUNTERS = {
    "jobs": ("tandem_jobs", "Jobs that ended.", ("task", "queue", "status")),
    "retries": ("tandem_retries", "Attempts that are tried again.", ("task", "queue")),
    "crashes": ("tandem_crashes", "Attempts whose process died.", ("task", "queue")),
    "lease_losses": (
        "tandem_lease_losses",
        "Leases that a worker could not renew in time.",
        ("queue",),
    ),
    "usage": ("tandem_llm_usage", "Tokens and requests that jobs cost.", ("task", "kind")),
    "throttled": ("tandem_llm_throttled", "Answers of providers with status 429.", ("provider", "model")),
    "limit_used": ("tandem_limit_used", "Requests or tokens that a limit let pass.", ("limit", "kind")),
    "limit_waits": (
        "tandem_limit_waits",
        "Later requests of running jobs that waited for a limit or a park.",
        ("limit", "kind"),
    ),
    "limit_waited": ("tandem_limit_waited_milliseconds", "How long they waited together.", ("limit", "kind")),
    "deliveries": ("tandem_webhook_deliveries", "Tries to deliver a webhook.", ("outcome",)),
    "duty_faults": ("tandem_duty_faults", "Steps at which a duty of the clock failed.", ("duty",)),
    "http": ("tandem_http_requests", "Answers of the gateways.", ("method", "route", "status")),
}
LIMIT = ("tandem_limit", "Requests or tokens a minute, or requests at once, that a limit of live workers allows.")
HELD = ("tandem_limit_held", "Requests under way that a limit on concurrency counts.")
HISTOGRAMS = {
    "wait": ("tandem_queue_wait_seconds", "From when a job was due to its start."),
    "run": ("tandem_run_seconds", "From the last attempt's start to the job's end."),
}
GAUGES = {
    "waiting": "Jobs that could start.",
    "scheduled": "Jobs whose start lies ahead.",
    "running": "Jobs that run.",
    "failed": "Failed jobs that are kept.",
    "oldest_waiting_seconds": "How long the head of the queue has been due.",
    "workers": "Workers by their heartbeats.",
    "paused": "1 if the queue is paused.",
}


class BookMetrics(Collector):
    """One reading of the counters and queues."""

    def __init__(self, counters: Mapping[str, int], queues: Sequence[QueueState], limits: Sequence[Told]) -> None:
        self._groups: defaultdict[str, dict[tuple[str, ...], int]] = defaultdict(dict)
        for field, value in counters.items():
            name, *labels = field.split("|")
            self._groups[name][tuple(labels)] = value
        self._queues = queues
        self._limits = _limits(limits)

    def collect(self) -> Iterator[Metric]:
        """Give all metrics."""
        for group, (name, text, labels) in COUNTERS.items():
            counter = CounterMetricFamily(name, text, labels=labels)
            for values, value in sorted(self._groups[group].items()):
                if len(values) == len(labels):
                    counter.add_metric(list(values), value)
            yield counter
        held = {labels: value for labels, value in self._groups["limit_held"].items() if labels in self._limits}
        for (name, text), levels in ((LIMIT, self._limits), (HELD, held)):
            level = GaugeMetricFamily(name, text, labels=["limit", "kind"])
            for values, value in sorted(levels.items()):
                level.add_metric(list(values), value)
            yield level
        for group, (name, text) in HISTOGRAMS.items():
            yield _histogram(name, text, self._groups[group])
        for name, text in GAUGES.items():
            gauge = GaugeMetricFamily(f"tandem_queue_{name}", text, labels=["queue"])
            for state in self._queues:
                gauge.add_metric([state.name], _gauge(name, state))
            yield gauge


def _limits(told: Sequence[Told]) -> dict[tuple[str, ...], int]:
    """Give the limits by their labels; where workers differ, the largest: it is what may pass."""
    found: dict[tuple[str, ...], int] = {}
    for name, kinds in ((name, kinds) for limits in told for name, kinds in limits.items()):
        for kind, limit in kinds.items():
            labels = (name.replace("|", "/"), kind)
            found[labels] = max(limit, found.get(labels, 0))
    return found


def _histogram(name: str, text: str, values: Mapping[tuple[str, ...], int]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=["task", "queue"])
    bounds: defaultdict[tuple[str, str], dict[float, int]] = defaultdict(dict)
    sums: dict[tuple[str, str], float] = {}
    for (task, queue, bucket), value in values.items():
        if bucket == "sum":
            sums[task, queue] = value / 1000
        else:
            bounds[task, queue][float(bucket) / 1000] = value
    for labels, counts in sorted(bounds.items()):
        total, buckets = 0, []
        for bound in (*(bound / 1000 for bound in BOUNDS), float("inf")):
            total += counts.get(bound, 0)
            buckets.append(("+Inf" if bound == float("inf") else f"{bound:g}", float(total)))
        family.add_metric(list(labels), buckets, sums.get(labels, 0.0))
    return family


def _gauge(name: str, state: QueueState) -> float:
    if name == "oldest_waiting_seconds":
        return state.oldest_age.total_seconds() if state.oldest_age else 0.0
    return float(len(state.workers) if name == "workers" else getattr(state, name))
