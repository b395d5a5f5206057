"""How long a job waits after a fault before it asks again: as the answer says, or its task's back-off."""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from tandem.shared.tasks.catalog.llm import RETRY
from tandem.shared.tasks.catalog.mail import EMAIL
from tests.chaos.judge.attempts import COSTS, MAIL_COSTS
from tests.chaos.judge.evidence import Case, Facts
from tests.chaos.judge.spans import Spans
from tests.chaos.outside.records import Request
from tests.chaos.row import Row

TICK = 0.05  # seconds: an answer is read a moment before the log has its end
HEARD = 1.0  # seconds until all workers have heard of a 429; what they send until then is on its way
RESERVED = 1.5  # likewise where there is a limit: starts are given out a second before their time


class Pause(NamedTuple):
    """From the end of a faulty answer to the next request of its job, and what is the least."""

    began: float
    ended: float
    least: float
    why: str


def retried(facts: Facts) -> Row:
    """The next request does not come before `Retry-After`, or before half of the task's back-off."""
    faults, short, found = [], [], 0
    for case in facts.cases:
        if facts.unsettled(case):
            continue
        for pause in _pauses(case):
            if _disturbed(facts, case, pause):
                continue
            found += 1
            short.append(pause.ended - pause.began - pause.least)
            if short[-1] < -TICK:
                waited = pause.ended - pause.began
                faults.append(f"{case.id} {case.name} waited {waited:.2f} s after {pause.why}, not {pause.least:.1f} s")
    shown = f"{found:,} pauses, {len(faults)} too short"
    shown += f"; at least {1000 * min(short):+.0f} ms beside what must be" if short else ""
    return Row(
        goal="who failed asks again after Retry-After or the back-off",
        measured=shown,
        faults=faults,
        samples=found,
        least=facts.least(2, 150),
    )


def _pauses(case: Case) -> Iterator[Pause]:
    failed, half = 0, RETRY.base.total_seconds() / 2
    for request, following in pairwise(case.requests):
        if request.good or request.ended is None:
            continue
        least = request.retry_after if request.fault == "limited" else half * 2 ** (0 if case.hits else failed)
        failed += request.fault in COSTS
        yield Pause(request.ended, following.came, least, request.fault)
    failed, half = 0, EMAIL.retry.base.total_seconds() / 2
    for mail, next_mail in pairwise(case.mails):
        if mail.answer in MAIL_COSTS:
            yield Pause(mail.at, next_mail.at, half * 2 ** (0 if case.hits else failed), mail.answer)
            failed += 1


def _disturbed(facts: Facts, case: Case, pause: Pause) -> bool:
    """Say whether the next request may be of another run: the job was hit, or let run again, or a clock jumped."""
    if any(hit.at <= pause.ended and (hit.deed.ended or pause.ended) >= pause.began - 1 for hit in case.hits):
        return True
    return case.notes.retry is not None or facts.jumps.touch(pause.began, pause.ended)


def parked(facts: Facts) -> Row:
    """While a 429 says when to come again, nobody asks that model, but for what was on its way."""
    faults, parks, seconds = [], 0, 0.0
    for busy in facts.requests:
        heard = RESERVED if busy.model in facts.limits else HEARD
        if busy.fault != "limited" or busy.ended is None or busy.retry_after <= heard or _unheard(facts, busy):
            continue
        parks, seconds = parks + 1, seconds + busy.retry_after - heard
        since, until = busy.ended + heard, busy.ended + busy.retry_after - TICK
        early = [one for one in facts.requests if one.model == busy.model and since < one.came < until]
        faults += [
            f"{busy.model} was asked by {one.asker} {one.came - busy.ended:.1f} s after a 429 "
            f"that said {busy.retry_after:.1f} s"
            for one in early
            if not _unheard_by(facts, one)
        ]
    return Row(
        goal="a model that answered 429 is left alone as long as it says",
        measured=f"{parks} times, {seconds:.0f} s in all, {len(faults)} requests too early",
        faults=faults,
        samples=parks,
        least=facts.least(0, 5),  # in a short run few say so long
        speed=True,  # on a busy machine news come late
    )


def _unheard(facts: Facts, busy: Request) -> bool:
    """Say whether the one that got it could not tell others: it was hit, or Redis was away or has forgotten it."""
    assert busy.ended is not None
    hard = Spans([*facts.away, *facts.spans("memory full", "cut", "latency")])
    forgotten = Spans([*facts.rolled_back, *facts.jumps])
    unsaid = hard.touch(busy.ended - TICK, busy.ended + HEARD) or _hit(facts, busy.asker, busy.ended, HEARD)
    return unsaid or forgotten.touch(busy.ended - TICK, busy.ended + busy.retry_after)


def _unheard_by(facts: Facts, one: Request) -> bool:
    """Say whether the worker that asked was stopped just before: it sends what it had been given."""
    return _hit(facts, one.asker, one.came, RESERVED)


def _hit(facts: Facts, worker: str, at: float, around: float) -> bool:
    return any(
        deed.target == worker and deed.began <= at + around and (deed.ended or at) >= at - around
        for deed in facts.deeds
    )
