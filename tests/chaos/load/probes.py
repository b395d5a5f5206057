"""How soon an idle platform picks up a job: a lost wake-up costs the length of a poll."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from tests.chaos.platform import USER_KEY

PROBES = {
    "llm": ("chat", {"messages": [{"role": "user", "content": "a probe"}]}),
    "sync": ("sync_trouble", {"how": "well"}),
}
COUNT = 40


@dataclass
class Picks:
    """Milliseconds from a job's creation to its start, by pool."""

    ms: dict[str, list[float]] = field(default_factory=dict)
    ids: set[str] = field(default_factory=set)


def probe(url: str, moment: Callable[[str], float], *, until: float) -> Picks:
    """Submit one job after the other to an idle platform, and none after `until`, as `time.monotonic()` counts."""
    picks = Picks({pool: [] for pool in PROBES})
    headers = {"Authorization": f"Bearer {USER_KEY}", "Prefer": "wait=10"}
    with httpx.Client(base_url=url, headers=headers, timeout=20) as client:
        for pool, (task, body) in list(PROBES.items()) * COUNT:
            if time.monotonic() > until:
                break
            job = client.post(f"/v1/{task}", json=body).raise_for_status().json()
            picks.ids.add(job["id"])
            # A fault of the provider's makes another attempt, whose start says nothing.
            if job["attempt"] == 1 and job["started_at"]:
                picks.ms[pool].append(1000 * (moment(job["started_at"]) - moment(job["created_at"])))
    return picks
