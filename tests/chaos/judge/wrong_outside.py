"""What those outside were told wrongly, as made-up facts: one entry for each kind, with the row that must notice it."""

import json
from dataclasses import replace
from typing import Any

from tests.chaos.judge import outputs, results, told
from tests.chaos.judge.evidence import Case, Facts
from tests.chaos.judge.made_up import AT, call, case, deed, facts, mail
from tests.chaos.judge.wrong_facts import Judge, noted, planned
from tests.chaos.outside.records import Told

HOOK = planned(webhook_url="x")
REPORT = case(1, "report").files[0]
EMPTY = Told(at=AT, connection=1, id=1, kind="end", data="{}")
TEXT = "answer 1 to job-1-1."


def streamed(*words: str, end: dict[str, Any] | None = None, **more: Any) -> Case:
    """Make a streamed chat whose watcher was told these words, "|" where another run begins, and the job at its end."""
    shown = {"id": "id-1", "status": "succeeded", "result": {"text": TEXT}, **(end or {})}
    kept = [("attempt", {"attempt": 2}) if word == "|" else ("delta", {"text": word}) for word in words]
    events = [
        Told(at=AT + 1, connection=1, id=id_, kind=kind, data=json.dumps(data))
        for id_, (kind, data) in enumerate([*kept, ("end", shown)], start=1)
    ]
    return noted(case(1, "chat", planned=planned(stream="true"), **more), told=events)


OUTSIDE: list[tuple[Judge, str, Facts]] = [
    (outputs.webhooks, "not signed", facts(case(1, "chat", planned=HOOK, calls=[call(1, signed=False)]))),
    (outputs.webhooks, "without the result", facts(case(1, "chat", planned=HOOK, calls=[call(1, result=None)]))),
    (outputs.webhooks, "another status", facts(case(1, "chat", planned=HOOK, calls=[call(1, status="failed")]))),
    (results.sync_results, "a mail to somebody else", facts(case(1, "email", mails=[mail(1, to=["eve@x"])]))),
    (results.sync_results, "a mail to one more", facts(case(1, "email", mails=[mail(1, to=["ada@x", "eve@x"])]))),
    (results.sync_results, "a mail with another text", facts(case(1, "email", mails=[mail(1, text="Bye")]))),
    (results.sync_results, "a blank report", facts(case(1, "report", files=[replace(REPORT, said="")]))),
    (told.told, "without the last words", facts(streamed("answer ", "1 to "))),
    (told.told, "with words of the run before", facts(streamed("answer ", TEXT))),
    (
        told.told,
        "an end without the job",
        facts(noted(case(1, "chat"), told=[EMPTY])),
    ),
    (told.told, "an end without the result", facts(streamed(TEXT, end={"result": None}))),
    (told.told, "another end", facts(streamed(TEXT, end={"status": "failed"}))),
    (
        told.told,
        "other words, though something broke",
        facts(streamed("another ", "answer "), deeds=[deed("partition", "network", began=1)]),
    ),
]
TOLD_RIGHT: list[tuple[Judge, str, Facts]] = [
    (told.told, "well", facts(streamed("answer ", "1 to ", "job-1-1."))),
    (told.told, "another run", facts(streamed("answer ", "|", TEXT))),
    (
        told.told,
        "something broke meanwhile",
        facts(streamed("answer "), deeds=[deed("partition", "network", began=1)]),
    ),
    (outputs.webhooks, "well", facts(case(1, "chat", planned=HOOK, calls=[call(1)]))),
]
