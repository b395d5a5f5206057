"""What watchers were told: each event once and in order, to one end, however often the connection broke."""

from collections.abc import Iterator

from tests.chaos.judge.evidence import Case, Facts
from tests.chaos.row import Row


def streams(facts: Facts) -> Row:
    """A watcher's events have numbers without gap or repeat, and one `end`, the last."""
    faults, watched, streamed, events, connections, apart = [], 0, 0, 0, 0, 0
    for case in facts.cases:
        told = case.notes.told
        if not case.notes.watched and not told:
            continue
        # A retry begins the stream anew, and what Redis has lost nobody can tell again.
        if case.retried or facts.unsettled(case):
            apart += 1
            continue
        watched, events = watched + 1, events + len(told)
        streamed += sum(event.kind == "delta" for event in told) > 1
        connections += max((event.connection for event in told), default=1) - 1
        faults += [f"{case.id} {case.name}: {why}" for why in _wrong(case)]
    shown = f"{events:,} events of {watched:,} jobs, {streamed:,} of them streamed; {connections:,} connections resumed"
    return Row(
        goal="event streams have no gap, no repeat, one end",
        measured=shown,
        faults=faults,
        samples=min(streamed, connections),
        least=facts.least(1, 60),
        apart=f"{apart} run again, or of a second that Redis lost" if apart else "",
    )


def _wrong(case: Case) -> Iterator[str]:
    told = case.notes.told
    ids = [event.id for event in told]
    if ids != list(range(1, len(ids) + 1)):
        place = next(i for i, number in enumerate(ids) if number != i + 1)
        yield f"event {ids[place]} came after {ids[place - 1] if place else 'nothing'}"
    kinds = [event.kind for event in told]
    if kinds.count("end") != 1 or kinds[-1] != "end":
        yield f"{kinds.count('end')} ends, the last event is {kinds[-1] if kinds else 'none'}"
    kept = {event.seq: (event.kind.value, event.data) for event in case.events}
    for event in told:
        if event.kind != "end" and event.id in kept and kept[event.id] != (event.kind, event.data):
            yield f"event {event.id} was told as {event.kind} {event.data[:60]}, and is kept as {kept[event.id]}"
