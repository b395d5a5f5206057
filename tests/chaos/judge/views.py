"""What the API shows to whom, when a run is over; and that it shows each owner their own jobs only."""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet

import httpx

from tests.chaos.judge.evidence import Facts
from tests.chaos.platform import KEYS
from tests.chaos.row import Row

LOOKS = 100  # jobs that each owner asks for one by one
HIDDEN = 404  # says the API of another's job


def listed(url: str, key: str) -> Iterator[str]:
    """List all jobs that the API shows to a key."""
    with _client(url, key) as client:
        cursor: dict[str, str] = {}
        while True:
            page = client.get("/v1/jobs", params={"limit": "200", **cursor}).raise_for_status().json()
            yield from (job["id"] for job in page["jobs"])
            if not page["next"]:
                return
            cursor = {"cursor": page["next"]}


def shown(url: str, jobs: Sequence[str]) -> Mapping[str, AbstractSet[str]]:
    """Give what the API shows each owner: the ids in the listing, and those of some jobs that are asked for."""
    found: dict[str, AbstractSet[str]] = {}
    some = jobs[:: 1 + len(jobs) // LOOKS]
    for owner, key in KEYS.items():
        with _client(url, key) as client:
            looked = {job for job in some if client.get(f"/v1/jobs/{job}").status_code != HIDDEN}
        found[owner] = looked | frozenset(listed(url, key))
    return found


def _client(url: str, key: str) -> httpx.Client:
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=30)


def own(facts: Facts) -> Row:
    """Each owner is shown the own jobs, and nobody else's; an admin all."""
    faults, counts = [], dict.fromkeys(facts.views, 0)
    for case in facts.cases:
        if case.job is None:
            continue
        by = case.planned.by
        counts[by] = counts.get(by, 0) + 1
        for owner, jobs in facts.views.items():
            may = owner in {by, "boss"}
            if (case.id in jobs) != may:
                faults.append(f"{case.id} {case.name} of {by} is {'not ' if may else ''}shown to {owner}")
        if case.job.owner != by:
            faults.append(f"{case.id} {case.name} was submitted by {by}, and is of {case.job.owner}")
    return Row(
        goal="each owner sees the own jobs only",
        measured=", ".join(f"{count:,} of {owner}" for owner, count in sorted(counts.items()))
        + f"; {len(faults)} wrong",
        faults=faults,
        samples=min(counts.values(), default=0),
        least=facts.least(3, 50),
    )
