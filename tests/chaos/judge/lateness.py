"""What comes late: jobs that begin, and webhooks that are sent, long after their time though nothing kept them."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence

from tests.chaos.judge.capacity import llm_busy, sync_busy
from tests.chaos.judge.evidence import Case, Facts, percentile
from tests.chaos.judge.outputs import senders_hit
from tests.chaos.judge.spans import Spans
from tests.chaos.row import Row

BEGUN = 15.0  # seconds from its time to a job's first sign, at most, besides those in which no worker was free
SENT = 10.0  # seconds from a job's end to its first webhook, at most
CLAIMED = 3.0  # seconds in which a webhook is claimed by whoever sends it
Line = tuple[bool, str]  # whether it is the LLM pool's, and its priority
OUTAGES = ("memory full", "latency", "away", "cut", "rollback", "partition", "cut answers")


def begins(facts: Facts) -> Row:
    """A job with a `delay` or a `run_at` begins soon after it, and after those of its priority that came before."""
    away = Spans([*facts.away, *facts.spans(*OUTAGES)])
    kept = {True: Spans([*away, *llm_busy(facts)]), False: Spans([*away, *sync_busy(facts)])}
    faults, late, apart = [], list[float](), 0
    before = lines(facts)
    for case in facts.cases:
        due = facts.due(case)
        if due is None or not case.signs or case.notes.accepted is None:
            continue
        if not _undisturbed(facts, case):
            apart += 1
            continue
        first = case.signs[0].at
        free = before[line_of(case)].begun(max(due, case.notes.accepted), first)
        late.append(first - free - kept[case.llm].within(free, first))
        if late[-1] > BEGUN:
            faults.append(f"{case.id} {case.name} began {late[-1]:.1f} s after its time")
    shown = f"half of {len(late):,} jobs within {percentile(late, 0.5):.1f} s" if late else "no job"
    return Row(
        goal=f"what has a delay or run_at begins ≤ {BEGUN:g} s after it",
        measured=f"{shown}, {len(faults)} late",
        faults=faults,
        samples=len(late),
        least=facts.least(6, 150),
        speed=True,  # there each job takes longer, and others go first
        apart=f"{apart} hit, of a limited model, or of a second that Redis lost" if apart else "",
    )


def line_of(case: Case) -> Line:
    return case.llm, case.planned.query.get("priority", "normal")


def lines(facts: Facts) -> dict[Line, "_Others"]:
    """Give for each pool and priority those without a time of their own."""
    lines: dict[Line, list[Case]] = defaultdict(list)
    for case in facts.cases:
        plain = case.signs and not case.hits and not case.retried and not case.planned.query.keys() - {"priority"}
        if plain and case.model not in facts.limits:
            lines[line_of(case)].append(case)
    return defaultdict(_Others, {line: _Others(cases) for line, cases in lines.items()})


class _Others:
    """Jobs of a pool and a priority without a time of their own: those that came first go first.

    Whoever is first of a priority has no excuse by them: so it shows if others keep a whole priority waiting.
    """

    def __init__(self, cases: Sequence[Case] = ()) -> None:
        came = sorted((case.notes.accepted or case.notes.sent, case.signs[0].at) for case in cases)
        self._came = [at for at, _ in came]
        self._begun = [begun for _, begun in came]

    def begun(self, due: float, first: float) -> float:
        """Give when the last of those began that came before `due`, and began before `first`; `due` if all had."""
        place = bisect_right(self._came, due)
        return max([due, *(at for at in self._begun[:place] if at < first)])


def _undisturbed(facts: Facts, case: Case) -> bool:
    """Say whether nothing but its time, and a free worker, kept a job from beginning."""
    if case.hits or case.notes.cancel or case.retried or case.model in facts.limits:
        return False
    failed = case.job is None or case.job.attempts  # maybe before anybody saw it
    return not failed and not facts.unsettled(case) and not facts.jumps.touch(case.notes.sent, case.last_seen + 1)


def webhooks(facts: Facts) -> Row:
    """A webhook is tried soon after its job's end, where nobody who sends them was hit."""
    excuses = senders_hit(facts)
    faults, took = [], list[float]()
    for case in facts.cases:
        ended = case.job.finished_at.timestamp() if case.job and case.job.finished_at else None
        if not case.calls or ended is None or case.retried or facts.unsettled(case):
            continue
        if excuses.touch(ended, ended + CLAIMED) or facts.jumps.touch(ended, ended + SENT):
            continue
        first = case.calls[0].at
        took.append(first - ended - facts.away.within(ended, first))
        if took[-1] > SENT:
            faults.append(f"{case.id} {case.name}: its first webhook came {took[-1]:.1f} s after its end")
    shown = f"half of {len(took):,} within {1000 * percentile(took, 0.5):.0f} ms" if took else "no webhook"
    return Row(
        goal=f"a webhook is sent ≤ {SENT:g} s after the end",
        measured=f"{shown}, {len(faults)} late",
        faults=faults,
        samples=len(took),
        least=facts.least(2, 100),
    )
