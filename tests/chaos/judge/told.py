"""What watchers were told of the outcome: the words of a streamed answer, and at the end the job as it is."""

import json
from collections.abc import Iterator
from typing import Any

from tests.chaos.judge.evidence import Case, Facts
from tests.chaos.judge.results import said, unlinked
from tests.chaos.judge.spans import Spans
from tests.chaos.outside.records import Told
from tests.chaos.row import Row

STREAMED = 1.0  # seconds before and after an answer's end in which its words are written down
DISTURBING = ("cut", "partition", "cut answers", "memory full", "rollback", "latency", "away")


def told(facts: Facts) -> Row:
    """The `end` shows the job as it is, and the deltas are its result: the beginning of it if something broke."""
    faults, ends, whole, apart, broken = [], 0, 0, 0, _broken(facts)
    for case in facts.cases:
        if not (last := _end(case)) or case.job is None:
            continue
        if case.retried or facts.unsettled(case):
            apart += 1
            continue
        ends += 1
        faults += [f"{case.id} {case.name}: its end {why}" for why in _wrong_end(case, last)]
        if not case.succeeded or "stream" not in case.planned.query:
            continue
        words, text = _words(case.notes.told), (case.job.result or {}).get("text", "")
        interrupted = _interrupted(case, broken)
        whole += not interrupted
        if words != text and not (interrupted and text.startswith(words)):
            faults.append(f"{case.id} {case.name}: its deltas say {words!r}, and its result {text!r}")
    return Row(
        goal="watchers are told the whole answer, and the job at its end",
        measured=f"{ends:,} ends, {whole} streamed in peace, {len(faults)} wrong",
        faults=faults,
        samples=min(ends, whole),
        least=facts.least(1, 40),
        apart=f"{apart} run again, or of a second that Redis lost" if apart else "",
    )


def _end(case: Case) -> Told | None:
    last = case.notes.told[-1] if case.notes.told else None
    return last if last and last.kind == "end" else None


def _wrong_end(case: Case, last: Told) -> Iterator[str]:
    assert case.job is not None
    shown: dict[str, Any] = json.loads(last.data)
    if (shown.get("id"), shown.get("status")) != (case.id, case.job.status):
        yield f"shows {shown.get('id')}, {shown.get('status')}, and it is {case.job.status}"
    elif unlinked(shown.get("result")) != unlinked(case.job.result):
        yield f"shows {str(shown.get('result'))[:80]}, and its result is {str(case.job.result)[:80]}"


def _words(told: list[Told]) -> str:
    """Join what the last run has told: where another one begins, what was told before is void."""
    words = ""
    for event in told:
        if event.kind == "attempt":
            words = ""
        elif event.kind == "delta":
            words += json.loads(event.data)["text"]
    return words


def _broken(facts: Facts) -> Spans:
    """Give the times in which events could not be written, or late: their writer may have given up."""
    stopped = [(deed.began, deed.ended or deed.began) for deed in facts.deeds if deed.role == "redis"]
    return Spans([*facts.away, *facts.spans(*DISTURBING), *stopped])


def _interrupted(case: Case, broken: Spans) -> bool:
    """Say whether something broke while the answer that is the result was streamed; nobody knows, if none was."""
    number = said(case.job.result if case.job else None)
    own = next((request for request in case.requests if request.number == number), None)
    if own is None or own.ended is None:
        return True
    start, end = own.ended - STREAMED, own.ended + STREAMED
    hit = any(start <= hit.at <= end or hit.at <= start <= (hit.deed.ended or end) for hit in case.hits)
    return hit or broken.touch(start, end)
