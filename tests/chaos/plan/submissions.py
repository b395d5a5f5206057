"""The schedule of submissions: which jobs, and what their submitters do besides."""

import random
from typing import Any

from tests.chaos.plan.model import Submission

# Of the jobs, in per cent.
SHARES = {
    "chat": 32,
    "chat slow": 3,
    "score": 25,
    "embed": 12,
    "extract": 3,
    "report": 8,
    "email": 10,
    "cleanup": 4,
    "sync_trouble": 3,
}


def submission(chance: random.Random, seed: int, number: int, at: float) -> Submission:
    marker = f"job-{seed}-{number}."
    task, body = _work(chance, marker)
    query: dict[str, str] = {}
    if (drawn := chance.random()) < 0.2:
        query["priority"] = "high" if drawn < 0.1 else "low"
    if chance.random() < 0.06:
        query["delay"] = f"{chance.uniform(0.3, 6):.1f}"
    elif chance.random() < 0.02:
        query["expires_in"] = f"{chance.uniform(0.5, 4):.1f}"
    if task == "chat" and chance.random() < 0.1:
        query["stream"] = "true"
    return Submission(
        at,
        marker,
        task,
        body,
        query,
        repeats=chance.choices([0, 1, 3], [90, 8, 2])[0],
        conflict=chance.random() < 0.01,
        cancel=chance.uniform(0, 3) if chance.random() < 0.04 else None,
        retry=chance.random() < 0.5,
        follow=chance.random() < 0.05,
    )


def _work(chance: random.Random, marker: str) -> tuple[str, dict[str, Any]]:
    """Choose a task and make its body."""
    kind = chance.choices(list(SHARES), list(SHARES.values()))[0]
    return kind.partition(" ")[0], body_of(kind, marker)


def body_of(kind: str, marker: str) -> dict[str, Any]:
    """Give the input of a task, with the marker where the provider or the mail server sees it."""
    shape = {"type": "object", "properties": {"said": {"type": "string"}}, "required": ["said"]}
    bodies: dict[str, dict[str, Any]] = {
        "chat": {"messages": [{"role": "user", "content": marker}]},
        "chat slow": {"messages": [{"role": "user", "content": f"{marker} slow"}]},
        "score": {"text": marker},
        "embed": {"texts": [marker]},
        "extract": {"text": marker, "schema": shape},
        "report": {"html": f"<p>{marker}", "title": marker},
        "email": {"to": ["ada@example.com"], "subject": marker, "text": "Hello"},
        "cleanup": {"older_than": "7d", "what": ["records"], "dry_run": True},
        "sync_trouble": {"how": "well"},
    }
    return bodies[kind]


def poison(was: Submission, pool: str) -> Submission:
    """Make a job that kills its own process, whenever it runs."""
    body = {"how": "kill" if pool == "async" else "segfault"}
    return Submission(was.at, was.marker, f"{pool}_trouble", body, {}, poison=True)
