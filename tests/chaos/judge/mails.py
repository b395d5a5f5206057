"""Who has got a mail is remembered: a job that is run again does not send it again."""

from tests.chaos.judge.evidence import LEASE, Case, Facts, Hit
from tests.chaos.judge.spans import Spans
from tests.chaos.outside.records import Transaction
from tests.chaos.row import Row

AROUND = 0.5  # seconds from a mail's being taken to the marker that says so, at most
CAN_NOT = ("memory full", "latency", "cut", "rollback", "away")  # kinds of deeds in which no marker is written


def causes(facts: Facts, case: Case) -> int:
    """Count why a mail that was taken may be sent again.

    The answer was lost, or the process ended before it could write the marker; and who cancels a job may let it run
    again.
    """
    taken = [mail for mail in case.mails if mail.taken]
    deaths = sum(any(_between(facts, mail, hit) for mail in taken) for hit in case.hits if hit.lost)
    return deaths + sum(mail.answer == "lost" for mail in taken) + case.cancelled


def _between(facts: Facts, mail: Transaction, hit: Hit) -> bool:
    """Say whether a death may lie between the server's acceptance and the marker.

    Only the process of the job itself is dead at once; if another was hit, it may go on until the lease is over.
    """
    away = Spans([*facts.away, *facts.spans(*CAN_NOT)])
    marked = mail.at + AROUND + away.within(mail.at, max(mail.at, hit.at))
    at_once = hit.deed.role in {"sync horse", "mail horse"}
    end = hit.at if at_once else (hit.deed.ended or hit.at) + LEASE if hit.deed.kind == "SIGSTOP" else hit.at + LEASE
    return hit.at <= marked and end >= mail.at - AROUND


def remembered(facts: Facts) -> Row:
    """A job that dies when its mail is taken and marked does not send it again."""
    faults, died = [], 0
    for case in facts.cases:
        taken = [mail for mail in case.mails if mail.taken]
        if not taken or facts.unsettled(case) or facts.made_anew(case):
            continue
        died += any(hit.deed.role == "mail horse" and not _between(facts, taken[0], hit) for hit in case.hits)
        if len(taken) > 1 + causes(facts, case):
            faults.append(f"{case.id} {case.name} sent its mail again {taken[-1].at - taken[0].at:.1f} s later")
    return Row(
        goal="a mail that is taken and marked is not sent again",
        measured=f"{died} died after that, {len(faults)} sent it again",
        faults=faults,
        samples=died,
        least=facts.least(1, 3),
    )
