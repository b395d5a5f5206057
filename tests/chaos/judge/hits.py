"""Who was hit: which jobs ran in a process when something was done to it.

The logs outside say it first: requests of that worker that were open at the provider, journal runs without their end.
What they can't see (between two requests, a report, a mail) the job book's `worker` says, which the driver has read
then.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from tests.chaos.judge.evidence import Case, Hit
from tests.chaos.judge.spans import Spans
from tests.chaos.outside.records import Deed, Request, SyncRun

Work = TypeVar("Work", Request, SyncRun)

WHOLE = frozenset({"llm worker", "sync worker", "sync supervisor", "sync horse"})  # roles whose every job is hit
KINDS = frozenset({"SIGKILL", "SIGSTOP", "SIGTERM", "died"})
SETTLE = 0.5  # seconds in which what was just sent still comes in, and what was just answered is still written


class Open(Generic[Work]):
    """What each worker was at, by the time when it began."""

    def __init__(self, works: Iterable[tuple[str, float, float | None, Work]]) -> None:
        self._works: dict[str, list[tuple[float, float, Work]]] = defaultdict(list)
        for worker, began, ended, work in works:
            self._works[worker].append((began, float("inf") if ended is None else ended, work))
        for kept in self._works.values():
            kept.sort(key=lambda entry: entry[0])
        self._longest = {
            worker: max((end - began for began, end, _ in kept if end < float("inf")), default=0.0)
            for worker, kept in self._works.items()
        }

    def at(self, worker: str, moment: float) -> Iterator[tuple[float, Work]]:
        """Give what it was at then, or had just ended, with its end."""
        kept = self._works.get(worker, ())
        last = bisect_right(kept, moment + SETTLE, key=lambda entry: entry[0])
        for began, ended, work in reversed(kept[:last]):
            if ended >= moment - SETTLE:
                yield ended, work
            elif began < moment - SETTLE - self._longest[worker] and not self._endless(worker):
                return

    def _endless(self, worker: str) -> bool:
        """Say whether some work has no end in the log: how long it lasted is not known then."""
        return any(end == float("inf") for _, end, _ in self._works[worker])


def strike(cases: Sequence[Case], deeds: Iterable[Deed], unwritable: Spans) -> None:
    """Give each case its hits, in the order of time. What can't be written down is still at work."""

    def written(ended: float | None) -> float | None:
        return None if ended is None else unwritable.over(ended, SETTLE)

    by_marker = {case.planned.marker: case for case in cases}
    by_id = {case.id: case for case in cases}
    killed = set[int]()  # runs, by what they are in memory
    requests = Open((kept.asker, kept.came, written(kept.ended), kept) for case in cases for kept in case.requests)
    runs = Open((kept.worker, kept.began, written(kept.ended), kept) for case in cases for kept in case.runs)
    for deed in deeds:
        if deed.kind not in KINDS:
            continue
        found = dict.fromkeys((by_id[job].planned.marker for job in deed.jobs if job in by_id), True)
        if deed.role in WHOLE:
            works: list[tuple[float, Request | SyncRun]] = [*requests.at(deed.target, deed.began)]
            works += ((end, run) for end, run in runs.at(deed.target, deed.began) if id(run) not in killed)
            for _, work in works:
                if deed.kind == "SIGKILL":  # the worker may live on, and be hit again when the run has long been over
                    killed.add(id(work))
                is_open = work.ended is None or work.ended > deed.began
                found[work.marker] = found.get(work.marker, False) or is_open
        for marker, sure in found.items():
            if marker in by_marker:
                by_marker[marker].hits.append(Hit(deed, deed.began, sure))
    for case in cases:
        case.hits.sort(key=lambda hit: hit.at)
