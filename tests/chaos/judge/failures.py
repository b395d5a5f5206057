"""Why jobs failed, as their records say it: what was the last to go wrong outside."""

from tandem.shared.jobs.model import Status
from tests.chaos.judge.evidence import Case, Facts
from tests.chaos.row import Row

# The error's type by what the provider or the mail server did.
TYPES = {
    "error": {"provider_unavailable"},
    "unavailable": {"provider_unavailable"},
    "limited": {"rate_limited"},
    "cut": {"provider_unavailable"},
    "garbage": {"provider_garbage"},
}
MAIL_TYPES = {
    "4xx": {"smtp_busy"},
    "5xx": {"smtp_refused"},
    "cut": {"smtp_unavailable"},
    "lost": {"smtp_unavailable"},
}
LOST = {"worker_crash", "crash_loop"}  # with its worker, once too often


def told(facts: Facts) -> Row:
    """A failed job says why: a type and a message, those of the last fault that was seen outside."""
    faults, failed = [], 0
    for case in facts.cases:
        if case.job is None or case.job.status is not Status.FAILED:
            continue
        failed += 1
        error = case.job.error or {}
        expected = _types(case)
        if not error.get("type") or not error.get("message"):
            faults.append(f"{case.id} {case.name} does not say why it failed: {error}")
        elif expected and error["type"] not in expected:
            faults.append(f"{case.id} {case.name} says {error['type']}, and not {' or '.join(sorted(expected))}")
    return Row(
        goal="a failed job says why, as it was seen outside",
        measured=f"{failed} failed jobs, {len(faults)} say it wrongly",
        faults=faults,
        samples=failed,
        least=facts.least(2, 20),
    )


def _types(case: Case) -> set[str]:
    """Give the types that its error may have; none if nothing was seen outside."""
    if case.planned.poison:
        return LOST
    found = [TYPES[request.fault] for request in case.requests[-1:] if request.fault in TYPES]
    found += [MAIL_TYPES[mail.answer] for mail in case.mails[-1:] if mail.answer in MAIL_TYPES]
    return set().union(*found, LOST if found and case.hits else set())
