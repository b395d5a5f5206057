"""The submitters: they post the plan's jobs over HTTP, and stay with each until they know that it is accepted."""

import asyncio
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.chaos.plan.model import Plan, Submission
from tests.chaos.platform import ADMIN_KEY, USER_KEY

AT_ONCE = 40  # requests under way
PATIENCE = 15.0  # seconds for one answer
GIVE_UP = 120.0  # seconds after which a submission counts as refused
BROKEN = (aiohttp.ClientError, TimeoutError, OSError)
FINAL = frozenset({"succeeded", "failed", "cancelled", "expired"})
AGAIN = frozenset({429, 503})


@dataclass
class Accepted:
    """What the submitter of one job saw."""

    planned: Submission
    ids: set[str] = field(default_factory=set)  # of all answers with the same key
    conflict: int | None = None  # the status of another body with the same key
    cancelled: bool = False
    retried: bool = False
    seen: dict[str, Any] | None = None  # the finished job, as it was first shown


@dataclass
class Tally:
    """What became of the requests."""

    accepted: dict[str, Accepted] = field(default_factory=dict)  # by marker
    refused: list[str] = field(default_factory=list)
    repeats: int = 0
    broken: int = 0  # requests without an answer, sent again
    turned_away: int = 0  # 503 and 429, sent again
    cancels: int = 0
    retries: int = 0


class Load:
    """Submits a plan; each request goes to the next gateway."""

    def __init__(self, plan: Plan, urls: list[str]) -> None:
        self._plan = plan
        self._urls = urls
        self._next = 0
        self._gate = asyncio.Semaphore(AT_ONCE)
        self.tally = Tally()

    async def run(self) -> None:
        """Submit everything at its time, and see each submission to its end."""
        began = time.monotonic()
        async with self._session() as session, asyncio.TaskGroup() as group:
            for planned in self._plan.submissions:
                await asyncio.sleep(began + planned.at - time.monotonic())
                group.create_task(self._one(session, planned))

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=PATIENCE), connector=aiohttp.TCPConnector(limit=0)
        )

    async def _one(self, session: aiohttp.ClientSession, planned: Submission) -> None:
        kept = Accepted(planned)
        posts = [self._post(session, planned, kept) for _ in range(1 + planned.repeats)]
        await asyncio.gather(*posts)
        self.tally.repeats += planned.repeats
        if not kept.ids:
            self.tally.refused.append(planned.marker)
            return
        self.tally.accepted[planned.marker] = kept
        await self._besides(session, planned, kept)

    async def _besides(self, session: aiohttp.ClientSession, planned: Submission, kept: Accepted) -> None:
        """Do what the plan says beyond submitting."""
        job = f"/v1/jobs/{min(kept.ids)}"
        if planned.conflict:
            other = {**planned.body, "model": "another"} if planned.task == "chat" else None
            if other:
                kept.conflict, _ = await self._ask(session, planned, "POST", f"/v1/{planned.task}", json=other)
        if planned.cancel is not None:
            await asyncio.sleep(planned.cancel)
            status, _ = await self._ask(session, planned, "POST", f"{job}/cancel")
            # A cancel whose answer got lost, and was asked for again, is answered 409: the job says which it was.
            kept.cancelled = status in {200, 409}
            self.tally.cancels += status == 200
            if status == 200 and planned.retry:
                status, _ = await self._ask(session, planned, "POST", f"{job}/retry")
                kept.retried = True
                self.tally.retries += status in {200, 202}
        elif planned.follow:
            kept.seen = await self._follow(session, planned, job)

    async def _post(self, session: aiohttp.ClientSession, planned: Submission, kept: Accepted) -> None:
        path = f"/v1/{planned.task}"
        status, body = await self._ask(session, planned, "POST", path, json=planned.body, params=planned.query)
        if status in {200, 202}:
            kept.ids.add(body["id"])

    async def _follow(self, session: aiohttp.ClientSession, planned: Submission, job: str) -> dict[str, Any]:
        while True:
            status, body = await self._ask(session, planned, "GET", job, params={"wait": "8"})
            if status == 200 and body["status"] in FINAL:
                found: dict[str, Any] = body
                return found

    async def _ask(
        self, session: aiohttp.ClientSession, planned: Submission, method: str, path: str, **more: Any
    ) -> tuple[int, Any]:
        """Send a request until somebody answers it; (0, None) if nobody does."""
        key = ADMIN_KEY if planned.task == "cleanup" else USER_KEY
        headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": planned.marker}
        deadline = time.monotonic() + GIVE_UP
        while time.monotonic() < deadline:
            url = self._urls[self._next % len(self._urls)]
            self._next += 1
            try:
                # Those who wait for a job's end don't keep others from submitting.
                gate = self._gate if method == "POST" else nullcontext()
                async with gate, session.request(method, url + path, headers=headers, **more) as answer:
                    body = await answer.json(content_type=None)
                    if answer.status not in AGAIN:
                        return answer.status, body
                    self.tally.turned_away += 1
            except BROKEN:
                self.tally.broken += 1
            await asyncio.sleep(0.2)
        return 0, None
