"""What is wrong with what submitters asked for, as made-up facts."""

from tandem.shared.jobs.model import Status
from tests.chaos.judge import ends, lateness, mails, outputs, views, wishes
from tests.chaos.judge.evidence import Facts
from tests.chaos.judge.made_up import AT, call, case, facts, job, mail, request, run, submission
from tests.chaos.judge.wrong_facts import BROKEN, Judge, failed, hit, noted, planned, wish

DIED_LATER = case(1, "email", mails=[mail(1), mail(1, at=AT + 3)], hits=[hit("SIGKILL", 2, role="mail horse")])
HOPELESS = submission(1, "chat", fails=True)

# The row, what is wrong, and the facts.
WRONG: list[tuple[Judge, str, Facts]] = [
    (wishes.one_per_key, "two jobs", facts(noted(case(1, "chat"), ids={"id-1", "id-2"}))),
    (wishes.one_per_key, "made anew at the end", facts(noted(case(1, "chat"), late=202))),
    (wishes.one_per_key, "its key was gone at the end", facts(noted(case(1, "chat"), late=410))),
    (mails.remembered, "again, though it was marked", facts(DIED_LATER)),
    (outputs.mails, "again, though it was marked", facts(DIED_LATER)),
    (views.own, "shown to another", facts(case(1, "chat"), views={"ann": {"id-1"}, "bob": {"id-1"}})),
    (views.own, "not shown to its owner", facts(case(1, "chat"), views={"ann": set()})),
    (views.own, "not shown to the admin", facts(case(1, "chat"), views={"ann": {"id-1"}, "boss": set()})),
    (
        views.own,
        "another's",
        facts(case(1, "chat", planned=submission(1, "chat", owner="bob")), views={"bob": {"id-1"}}),
    ),
    (
        ends.exhausted,
        "too often",
        facts(case(1, "chat", planned=HOPELESS, job=failed("chat", "x"), requests=[*BROKEN, request(6, 1)])),
    ),
    (
        ends.exhausted,
        "too seldom",
        facts(case(1, "chat", planned=HOPELESS, job=failed("chat", "x"), requests=BROKEN[1:])),
    ),
    (ends.exhausted, "succeeded", facts(case(1, "chat", planned=HOPELESS, requests=BROKEN))),
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
        facts(case(1, "chat", planned=planned(delay="2"), requests=[request(1, 1, came=AT + 18)])),
    ),
    (
        lateness.begins,
        "late",
        facts(case(1, "journal", planned=planned("journal", run_at="2"), runs=[run(1, token="a", began=AT + 18)])),
    ),
    (lateness.webhooks, "late", facts(case(1, "chat", planned=planned(webhook_url="x"), calls=[call(1, at=AT + 13)]))),
]
