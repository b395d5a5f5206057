"""What jobs leave outside: mails, files, webhooks, and the jobs of schedules."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise

from tests.chaos.judge.capacity import all_down
from tests.chaos.judge.evidence import LOSING, Case, Facts
from tests.chaos.judge.mails import causes as mail_causes
from tests.chaos.judge.results import unlinked
from tests.chaos.judge.spans import Spans
from tests.chaos.outside.records import Call, SyncRun
from tests.chaos.row import Row

MADE_UP = 2.0  # seconds in which a due time that was missed is made up for, when the clock can work again
SETTLING = 1.0  # seconds from a receiver's answer until it is written down, in which its sender may be hit


def mails(facts: Facts) -> Row:
    """A mail job that succeeded has one Message-ID in the mail server's log; a repeat has a cause."""
    faults, sent, repeats, broken, apart = [], 0, 0, 0, 0
    for case in facts.cases:
        if case.planned.task != "email":
            continue
        if facts.made_anew(case):
            apart += 1
            continue
        taken = [mail for mail in case.mails if mail.taken]
        broken += sum(mail.answer != "250" for mail in case.mails)
        if case.succeeded:
            sent += 1
            faults += [] if taken else [f"{case.id} {case.name} succeeded, and sent nothing"]
        if len({mail.message_id for mail in case.mails}) > 1:
            faults.append(f"{case.id} {case.name} has {len({mail.message_id for mail in case.mails})} Message-IDs")
        again = max(0, len(taken) - 1)
        repeats += again
        causes = mail_causes(facts, case)
        if again > causes and not facts.unsettled(case):
            faults.append(f"{case.id} {case.name} sent its mail {1 + again} times, with {causes} causes")
    shown = f"{sent:,} sent, {broken} transactions broken, {repeats} repeats; {len(faults)} wrong"
    return Row(
        goal="a mail is sent once, or again with its Message-ID",
        measured=shown,
        faults=faults,
        samples=min(sent, broken),
        least=facts.least(1, 50),
        apart=_anew(apart),
    )


def files(facts: Facts) -> Row:
    """Each report has its one file; what a dead run left, the clean-up of orphans has removed."""
    faults, reports, left, kept, apart = [], 0, 0, set(facts.files_left), 0
    for case in facts.cases:
        if case.planned.task == "report" and facts.made_anew(case):
            apart += 1
            continue
        own = case.job.file.key if case.job and case.job.file else None
        if case.planned.task == "report" and case.succeeded:
            reports += 1
            faults += [] if own in kept else [f"{case.id} {case.name} has no file"]
        others = [file for file in case.files if file.key != own]
        left += len(others)
        causes = sum(hit.lost for hit in case.hits) + len(case.job.attempts if case.job else []) + case.cancelled
        if len(others) > causes and not facts.unsettled(case):
            faults.append(f"{case.id} {case.name} left {len(others)} files, with {causes} causes")
        if job_kept := [file.key for file in others if file.key in kept]:
            faults.append(f"{job_kept[0]} is still there after a clean-up of orphans")
    shown = f"{reports:,} reports; {left} files of dead runs, cleaned up; {len(faults)} wrong"
    return Row(
        goal="each report has its file, and no other stays",
        measured=shown,
        faults=faults,
        samples=reports,
        least=facts.least(10, 500),
        apart=_anew(apart),
    )


def _anew(apart: int) -> str:
    return f"{apart} that Redis lost, and their key made anew" if apart else ""


def webhooks(facts: Facts) -> Row:
    """Each finished job with a webhook was delivered, with one id an end; again only if it was not answered 2xx."""
    excuses = senders_hit(facts)
    faults, wanted, tries, again = [], 0, 0, 0
    for case in facts.cases:
        if "webhook_url" not in case.planned.query or not case.job or not case.job.finished:
            continue
        wanted, tries = wanted + 1, tries + len(case.calls)
        again += sum(not call.taken for call in case.calls)
        faults += [f"{case.id} {case.name}: {why}" for why in _wrong_calls(facts, case, excuses)]
    shown = f"{wanted:,} jobs, {tries:,} tries, {again} not taken; {len(faults)} wrong"
    return Row(
        goal="each webhook is delivered, one id an end",
        measured=shown,
        faults=faults,
        samples=min(wanted, again),
        least=facts.least(1, 40),
    )


def _wrong_calls(facts: Facts, case: Case, excuses: Spans) -> Iterator[str]:
    assert case.job is not None
    by_id: dict[str, list[Call]] = defaultdict(list)
    for call in case.calls:
        by_id[call.id].append(call)
    if len(by_id) > 1 + case.retried and not facts.unsettled(case):
        yield f"{len(by_id)} ids of webhooks"
    told = [call for call in case.calls if call.event == f"job.{case.job.status}"]
    if unsigned := [call.id for call in case.calls if not call.signed]:
        yield f"{unsigned[0]} is not signed with the secret"
    now = (case.job.status, unlinked(case.job.result))
    said = [(call.status, unlinked(call.result)) for call in told]
    if any(shown != now for shown in said) and not facts.unsettled(case):
        yield f"its end was told as {said}, and it is {now}"
    if not any(call.taken or call.answer == 410 for call in told):
        yield f"nobody was told that it is {case.job.status} ({len(case.calls)} tries)"
    if not case.retried and len({call.event for call in case.calls}) > 1 and not facts.unsettled(case):
        yield f"webhooks of several ends: {sorted({call.event for call in case.calls})}"
    for id_, calls in by_id.items():
        for call, again in pairwise(calls):  # each repeat needs an excuse of its own
            if call.taken and not excuses.touch(call.at - SETTLING, call.at + SETTLING):
                yield f"{id_} was sent again {again.at - call.at:.1f} s after it was taken"


def senders_hit(facts: Facts) -> Spans:
    """Give the times in which a process that delivers was hit, or could not write that it has."""
    hit = [
        (deed.began, deed.ended or deed.began)
        for deed in facts.deeds
        if deed.role in {"llm worker", "clock"} and deed.kind in LOSING
    ]
    hit += [(start, end) for start, end in facts.away]
    cut = facts.spans("cut", "partition", "cut answers", "memory full", "rollback", "latency", "away")
    return Spans([*hit, *cut])


def schedules(facts: Facts) -> Row:
    """Each due time of a schedule makes one job, and that runs once, or again if it was hit."""
    by_job: dict[str, list[SyncRun]] = defaultdict(list)
    for run in facts.scheduled:
        by_job[run.job].append(run)
    away = Spans([*facts.away, *facts.spans("memory full"), *all_down(facts, "clock")])
    counts, faults = Counter[str](), []
    for name, dues in facts.schedules.items():
        for due, following in zip(dues, [*dues[1:], float("inf")], strict=False):
            job = f"{name}-{datetime.fromtimestamp(due, UTC):%Y%m%dT%H%M%SZ}"
            ran = by_job.pop(job, [])
            counts["due"] += 1
            if not any(run.ended for run in ran) and away.within(due, following) >= following - due - MADE_UP:
                counts["missed"] += 1
            elif not any(run.ended for run in ran):
                faults.append(f"{job} did not run")
            elif len(ran) > 1 + sum(_hit(facts, run) for run in ran) + _forgotten(facts, due, ran[0]):
                faults.append(f"{job} ran {len(ran)} times")
    faults += [f"{job} ran, and was not due" for job in by_job]
    shown = f"{counts['due']} due times, {len(faults)} wrong"
    return Row(
        goal="each due time of a schedule runs once",
        measured=shown,
        faults=faults,
        samples=counts["due"] - counts["missed"],
        least=facts.least(3, 30),
        apart=f"{counts['missed']} without a clock or Redis" if counts["missed"] else "",
    )


def _forgotten(facts: Facts, due: float, first: SyncRun) -> int:
    """Count the roll-backs over the time in which a job was submitted and ran: the clock submits it again."""
    end = (first.ended or first.began) + SETTLING
    return sum(start <= end and until >= due for start, until in facts.rolled_back)


def _hit(facts: Facts, run: SyncRun) -> bool:
    """Say whether its worker was hit in this run, or before the run's end was written."""
    end = (run.ended or float("inf")) + SETTLING
    return any(
        deed.target == run.worker and deed.kind in LOSING and run.began - SETTLING <= deed.began <= end
        for deed in facts.deeds
    )
