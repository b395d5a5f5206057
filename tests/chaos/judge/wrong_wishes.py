"""What is wrong with what submitters asked for, as made-up facts."""

from tandem.shared.jobs.model import Status
from tests.chaos.judge import lateness, wishes
from tests.chaos.judge.evidence import Facts
from tests.chaos.judge.made_up import AT, call, case, facts, job, request, run
from tests.chaos.judge.wrong_facts import Judge, noted, planned, wish

# The row, what is wrong, and the facts.
WRONG: list[tuple[Judge, str, Facts]] = [
    (wishes.one_per_key, "two jobs", facts(noted(case(1, "chat"), ids={"id-1", "id-2"}))),
    (wishes.one_per_key, "a conflict taken", facts(noted(case(1, "chat"), conflict=202))),
    (wishes.delays, "early", facts(case(1, "chat", planned=planned(delay="2")))),
    (wishes.delays, "before its run_at", facts(case(1, "chat", planned=planned(run_at="9")))),
    (
        wishes.expiry,
        "at once",
        facts(case(1, "chat", planned=planned(expires_in="5"), requests=[], job=job(1, "chat", status=Status.EXPIRED))),
    ),
    (
        wishes.expiry,
        "expired, and worked",
        facts(case(1, "chat", planned=planned(expires_in="1.5"), job=job(1, "chat", status=Status.EXPIRED))),
    ),
    (
        wishes.expiry,
        "late",
        facts(case(1, "chat", planned=planned(expires_in="1"), requests=[request(1, 1, came=AT + 9)])),
    ),
    (wishes.cancels, "not cancelled", facts(noted(case(1, "chat"), cancel=wish(0.2)))),
    (
        wishes.cancels,
        "its request stayed open",
        facts(
            noted(
                case(1, "chat", requests=[request(1, 1, ended=AT + 5)], job=job(1, "chat", status=Status.CANCELLED)),
                cancel=wish(1.5),
            )
        ),
    ),
    (
        wishes.cancels,
        "it went on to its end",
        facts(
            noted(
                case(1, "journal", runs=[run(1, token="a", ended=AT + 9)], job=job(1, "x", status=Status.CANCELLED)),
                cancel=wish(1.5),
            )
        ),
    ),
    (
        wishes.cancels,
        "it went on until it was killed",
        facts(
            noted(
                case(
                    1,
                    "journal",
                    runs=[run(1, token="a", ended=None, alive=AT + 5)],
                    job=job(1, "x", status=Status.CANCELLED),
                ),
                cancel=wish(1.5),
            )
        ),
    ),
    (
        wishes.cancels,
        "it worked after that",
        facts(
            noted(
                case(1, "chat", requests=[request(1, 1, came=AT + 9)], job=job(1, "chat", status=Status.CANCELLED)),
                cancel=wish(1),
            )
        ),
    ),
    (wishes.retries, "did nothing", facts(noted(case(1, "chat"), cancel=wish(2), retry=wish(3, 202)))),
    (
        wishes.retries,
        "stayed cancelled",
        facts(noted(case(1, "chat", job=job(1, "chat", status=Status.CANCELLED)), cancel=wish(2), retry=wish(3, 202))),
    ),
    (
        wishes.retries,
        "counts on",
        facts(noted(case(1, "chat", job=job(1, "chat", attempt=2)), cancel=wish(0.2), retry=wish(0.4, 202))),
    ),
    (wishes.retries, "refused", facts(noted(case(1, "chat"), cancel=wish(0.2), retry=wish(0.4, 404)))),
    (
        lateness.begins,
        "late",
        facts(case(1, "chat", planned=planned(delay="2"), requests=[request(1, 1, came=AT + 11)])),
    ),
    (
        lateness.begins,
        "late",
        facts(case(1, "journal", planned=planned("journal", run_at="2"), runs=[run(1, token="a", began=AT + 11)])),
    ),
    (lateness.webhooks, "late", facts(case(1, "chat", planned=planned(webhook_url="x"), calls=[call(1, at=AT + 13)]))),
]
