"""The schedule of submissions: which jobs, and what their submitters do besides."""

import random
from typing import Any

from tests.chaos.plan.model import GREYLISTS, LEAVES_LATE, SLOW, Submission

RPM, TPM = "limited-by-requests", "limited-by-tokens"  # models
SHORT = 0.2  # seconds of a journal task in the rush
MOST_TOKENS = 60  # of an answer of the model that tokens limit
WAITS = frozenset({"delay", "run_at"})
# Of the jobs, in per cent.
SHARES = {
    "chat": 10,
    "chat slow": 7,
    "chat rpm": 23,
    "chat tpm": 23,
    "score": 6,
    "embed": 5,
    "extract": 2,
    "report": 8,
    "email": 10,
    "cleanup": 2,
    "journal": 4,
}


def submission(chance: random.Random, seed: int, number: int, at: float) -> Submission:
    """Draw one job."""
    marker = f"job-{seed}-{number}."
    kind = chance.choices(list(SHARES), list(SHARES.values()))[0]
    query: dict[str, str] = {}
    urgent = 0.25 if kind in {"chat rpm", "chat tpm"} else 0.1  # where jobs wait, it shows
    if (drawn := chance.random()) < 2 * urgent:
        query["priority"] = "high" if drawn < urgent else "low"
    if chance.random() < 0.06:
        query |= later(at, chance.uniform(0.3, 6), by=chance.choice(("delay", "run_at")))
    elif chance.random() < 0.03:
        query["expires_in"] = f"{chance.uniform(0.5, 4):.1f}"
    if kind in {"chat", "chat slow"} and chance.random() < 0.15:
        query["stream"] = "true"
    if chance.random() < 0.08:
        query["webhook_url"] = marker
    long = kind == "chat slow"
    return Submission(
        at,
        marker,
        kind.partition(" ")[0],
        body_of(kind, marker),
        query,
        repeats=chance.choices([0, 1, 3], [90, 8, 2])[0],
        conflict=chance.random() < 0.01,
        cancel=chance.uniform(0, 3) if chance.random() < (0.15 if long else 0.04) else None,
        retry=chance.random() < 0.5 and not WAITS & query.keys(),  # for which a retry does not wait
        follow=chance.random() < 0.05 or kind == "email",
        watch=chance.random() < 0.06,
    )


def later(at: float, seconds: float, *, by: str) -> dict[str, str]:
    """Give the query of what is submitted `at` seconds, to begin so many later."""
    return {by: f"{seconds + (at if by == 'run_at' else 0):.1f}"}


def body_of(kind: str, marker: str, *, seconds: float = 0) -> dict[str, Any]:
    """Give the input of a task, with the marker where whoever sees the work finds it."""
    shape = {"type": "object", "properties": {"said": {"type": "string"}}, "required": ["said"]}
    messages = [{"role": "user", "content": f"{marker} slow" if kind == "chat slow" else marker}]
    bodies: dict[str, dict[str, Any]] = {
        "chat": {"messages": messages},
        "chat slow": {"messages": messages},
        "chat rpm": {"messages": messages, "model": RPM},
        "chat tpm": {"messages": messages, "model": TPM, "max_output_tokens": MOST_TOKENS},
        "score": {"text": marker},
        "embed": {"texts": [marker]},
        "extract": {"text": marker, "schema": shape},
        "report": {"html": f"<p>{marker}", "title": marker},
        "email": {"to": [f"{marker}ada@example.com"], "subject": marker, "text": f"Hello, this is {marker}"},
        "cleanup": {"older_than": "7d", "what": ["records"], "dry_run": True},
        "journal": {"marker": marker, "seconds": seconds},
    }
    return bodies[kind]


def rush(seed: int, number: int, task: str, priority: str) -> Submission:
    """Make a short job that waits with others: `number` counts on from the plan's."""
    marker = f"job-{seed}-{number}."
    return Submission(0.0, marker, task, body_of(task, marker, seconds=SHORT), {"priority": priority}, rush=True)


def poison(was: Submission, pool: str, **query: str) -> Submission:
    """Make a job that kills its own process, whenever it runs."""
    body = {"how": "kill" if pool == "async" else "segfault"}
    return Submission(was.at, was.marker, f"{pool}_trouble", body, query, poison=True)


def slow_chat(was: Submission) -> Submission:
    """Make a chat that takes longer than a lease, at once."""
    return Submission(was.at, was.marker, "chat", body_of("chat slow", was.marker), {"priority": "high"})


def answered(was: Submission, wish: str) -> Submission:
    """Make a chat that the provider answers as the wish says, "first error" for one. Its model is its own.

    What happens to a model may happen to all that ask it.
    """
    messages = [{"role": "user", "content": f"{was.marker} {wish}"}]
    body = {"messages": messages, "model": f"{wish.replace(' ', '-')}-{was.marker}"}
    return Submission(was.at, was.marker, "chat", body, {}, fails=wish.startswith("always"))


def lasting_mail(was: Submission) -> Submission:
    """Make a mail job that goes on for a while when its mail is taken, at once."""
    body = {**body_of("email", was.marker), "to": [LEAVES_LATE]}
    return Submission(was.at, was.marker, "email", body, {"priority": "high"}, follow=True)


def greylisted(was: Submission) -> Submission:
    """Make a mail job whose mail is refused for now, the first time."""
    body = {**body_of("email", was.marker), "to": [GREYLISTS]}
    return Submission(was.at, was.marker, "email", body, {"priority": "high"}, follow=True)


def journal(was: Submission, seconds: float = SLOW) -> Submission:
    """Make a sync job that takes so long, at once."""
    body = body_of("journal", was.marker, seconds=seconds)
    return Submission(was.at, was.marker, "journal", body, {"priority": "high"})
