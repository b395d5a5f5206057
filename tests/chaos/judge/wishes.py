"""What submitters asked for besides the work: delays, expiry, cancels, retries, one job a key."""

from collections.abc import Iterator

from tandem.shared.jobs.model import Status
from tests.chaos.judge.evidence import WRITTEN, Case, Facts
from tests.chaos.judge.times import moment
from tests.chaos.outside.records import Wish
from tests.chaos.row import Row

STOPPED_WITHIN = 2.0  # seconds from the answer to a cancel
BEGUN_WITHIN = 2.0  # seconds from a job's claim to its first request, at most
IN_PLACE = 1.0  # seconds more where it waits for its model's limit; if that takes longer, it has not begun
SAID_EVERY = 0.4  # seconds from a journal line to the next one, at most
TAKEN_BEFORE = 200  # says the API to a key that it knows
TICK = 0.002  # seconds: the job book counts in whole milliseconds


def delays(facts: Facts) -> Row:
    """Nothing starts before its `delay` or its `run_at`."""
    faults, late, apart = [], list[float](), 0
    kinds = {"delay": 0, "run_at": 0}
    for case in facts.cases:
        due, retry = facts.due(case), case.notes.retry
        if due is None or not case.signs or (retry and case.signs[0].at >= retry.sent):
            continue  # a retry starts at once
        if facts.jumps.touch(case.notes.sent, due + 1):
            apart += 1
            continue
        late.append(case.signs[0].at - due)
        kinds["run_at" if "run_at" in case.planned.query else "delay"] += 1
        if late[-1] < -TICK:
            faults.append(f"{case.id} {case.name} began {-late[-1]:.2f} s too early")
    shown = f"{kinds['delay']:,} with a delay, {kinds['run_at']:,} with run_at, {len(faults)} too early"
    shown += f"; half began within {sorted(late)[len(late) // 2]:.1f} s after it" if late else ""
    return Row(
        goal="nothing starts before its delay or run_at",
        measured=shown,
        faults=faults,
        samples=min(kinds.values()),
        least=facts.least(4, 150),
        apart=f"{apart} while a clock had jumped" if apart else "",
    )


def expiry(facts: Facts) -> Row:
    """A job is expired if it was not begun by its expiry, and not before that; then it never begins."""
    faults, expired, begun, apart = [], 0, 0, 0
    for case in facts.cases:
        if "expires_in" not in case.planned.query or case.job is None or case.retried:
            continue
        if facts.jumps.touch(case.notes.sent, case.last_seen + 10) or facts.unsettled(case):
            apart += 1
            continue
        expired += case.job.status is Status.EXPIRED
        begun += bool(case.signs)
        faults += [f"{case.id} {case.name} {why}" for why in _wrong_expiry(facts, case)]
    shown = f"{expired} expired, {begun} begun in time, {len(faults)} wrong"
    return Row(
        goal="expired = not begun in time, and never after",
        measured=shown,
        faults=faults,
        samples=min(expired, begun),
        least=facts.least(1, 10),
        apart=f"{apart} while a clock had jumped, or of a second that Redis lost" if apart else "",
    )


def _wrong_expiry(facts: Facts, case: Case) -> Iterator[str]:
    assert case.job is not None
    allowed = float(case.planned.query["expires_in"])
    if case.job.status is Status.EXPIRED:
        if case.signs:
            yield f"is expired, and was at work {case.signs[0].at - case.notes.sent:.1f} s after it was sent"
        if case.job.finished_at and case.job.finished_at.timestamp() < case.notes.sent + allowed - TICK:
            yield f"expired {case.job.finished_at.timestamp() - case.notes.sent:.2f} s after it was sent, not {allowed}"
    elif case.signs and not case.hits:
        within = BEGUN_WITHIN + (IN_PLACE if case.model in facts.limits else 0.0)
        last = (case.notes.accepted or case.notes.sent) + allowed + within
        late = case.signs[0].at - last - facts.away.within(case.notes.sent, case.signs[0].at)
        if late > 0:
            yield f"began {late + within:.1f} s after its expiry"


def cancels(facts: Facts) -> Row:
    """Who is cancelled stays so, and its work is stopped within 2 s.

    The provider sees its client leave, and the journal gets no more lines.
    """
    faults, waiting, apart = [], 0, 0
    took: dict[str, list[float]] = {"LLM": [], "sync": []}
    for case in facts.cases:
        wish = case.notes.cancel
        if wish is None or wish.status != 200 or wish.again or case.job is None:
            continue
        if facts.unpromised(case) or facts.rolled_back.touch(wish.sent, wish.answered + WRITTEN):
            apart += 1
            continue
        waiting += not case.signs
        took["LLM" if case.llm else "sync"] += [end - wish.answered for end in _ends(case, wish.answered)]
        faults += [f"{case.id} {case.name} {why}" for why in _wrong_cancel(facts, case, wish)]
    running = ", ".join(f"{len(ends)} running {pool} jobs" for pool, ends in took.items())
    shown = f"{waiting} waiting, {running}, {len(faults)} wrong"
    shown += f"; work ended within {max(longest):.1f} s" if (longest := took["LLM"] + took["sync"]) else ""
    return Row(
        goal="a cancel stops the work within 2 s",
        measured=shown,
        faults=faults,
        samples=min(waiting, *map(len, took.values())),
        least=facts.least(1, 20),
        apart=f"{apart} of a second that Redis lost" if apart else "",
        speed=True,
    )


def _ends(case: Case, cancelled: float) -> list[float]:
    """Give the ends of the work that was under way when a cancel was answered."""
    ends = [request.ended or float("inf") for request in case.requests if request.came <= cancelled]
    ends = [end for end in ends if end > cancelled]
    # A run that is killed leaves no line: it lasted until the one before.
    return ends + [max(run.last, cancelled) for run in case.runs if run.began <= cancelled < run.last + SAID_EVERY]


def _wrong_cancel(facts: Facts, case: Case, wish: Wish) -> Iterator[str]:
    assert case.job is not None
    again = case.notes.retry is not None
    if not again and case.job.status is not Status.CANCELLED:
        yield f"was cancelled, and is {case.job.status}"
    patience = wish.answered + STOPPED_WITHIN + _stops(facts, case, wish.answered)
    late = [end - wish.answered for end in _ends(case, wish.answered) if end > patience]
    if late:
        yield f"was at work until {max(late):.1f} s after its cancel"
    begun = [sign.at - wish.answered for sign in case.signs if sign.at > patience]
    if begun and not again:
        yield f"began {begun[0]:.1f} s after its cancel"


def _stops(facts: Facts, case: Case, at: float) -> float:
    """Give the seconds after a cancel in which the worker was stopped, or Redis took nothing: it heard of nothing."""
    end = at + 60
    stopped = max(
        (min(hit.over, end) - at for hit in case.hits if hit.deed.kind == "SIGSTOP" and hit.at <= at + 2),
        default=0.0,
    )
    return facts.unwritable.over(at + max(0.0, stopped), STOPPED_WITHIN) - at


def retries(facts: Facts) -> Row:
    """A job that is run again does work again, and its attempts count from zero."""
    faults, counted, apart = [], 0, 0
    for case in facts.cases:
        wish = case.notes.retry
        if wish is None or case.job is None:
            continue
        lost = facts.unpromised(case) or facts.rolled_back.touch(wish.sent, wish.answered + WRITTEN)
        if lost or wish.again or wish.status in {0, 409}:
            apart += 1
            continue
        if wish.status not in {200, 202}:
            faults.append(f"{case.id} {case.name}: its retry was answered {wish.status}")
            continue
        counted += 1
        after = [sign for sign in case.signs if sign.at >= wish.sent]
        if case.succeeded and not after and case.planned.task != "cleanup":
            faults.append(f"{case.id} {case.name} succeeded, and did no work after its retry")
        elif case.job.status in {Status.CANCELLED, Status.EXPIRED}:
            faults.append(f"{case.id} {case.name} was run again, and is {case.job.status}")
        elif case.succeeded and case.job.attempt != 1 + len(case.job.attempts):
            faults.append(f"{case.id} {case.name} is at attempt {case.job.attempt} after its retry")
        elif any(moment(entry["at"]) < wish.sent for entry in case.job.attempts) and not facts.jumps:
            faults.append(f"{case.id} {case.name} remembers attempts from before its retry")
    shown = f"{counted} run again, {len(faults)} wrong"
    return Row(
        goal="a retry runs again, attempts from zero",
        measured=shown,
        faults=faults,
        samples=counted,
        least=facts.least(2, 60),
        apart=f"{apart} whose answer was lost, or of a second that Redis lost" if apart else "",
    )


def one_per_key(facts: Facts) -> Row:
    """However often a request is sent with one key, there is one job; another body is refused."""
    faults = [
        f"{case.planned.marker} became {sorted(case.notes.ids)}"
        for case in facts.cases
        if len(case.notes.ids) != 1 and not facts.unpromised(case)
    ]
    told = [case.notes.conflict for case in facts.cases if not facts.unpromised(case)]
    conflicts = [status for status in told if status not in {None, 0}]
    faults += [f"another body with a used key was answered {status}" for status in conflicts if status != 422]
    late = [case.notes.late for case in facts.cases if case.notes.late and not facts.unpromised(case)]
    faults += [
        f"a job that was submitted again when all was over was answered {status}"
        for status in late
        if status != TAKEN_BEFORE
    ]
    repeats = sum(case.planned.repeats for case in facts.cases)
    shown = f"{repeats:,} repeats, {len(late)} at the end, {facts.sent_again:,} sent again, {len(conflicts)} conflicts"
    return Row(
        goal="one job per Idempotency-Key",
        measured=f"{shown}: {len(faults)} wrong",
        faults=faults,
        samples=min(repeats, len(conflicts), len(late)),
        least=facts.least(1, 30),
    )
