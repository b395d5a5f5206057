"""The submitters: they post the plan's jobs over HTTP, and stay with each until they have what they want of it."""

import asyncio
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.chaos.load.client import Answer, Client, session
from tests.chaos.load.watchers import watch
from tests.chaos.outside.records import Notes, Shown, Wish
from tests.chaos.plan.model import Plan, Submission

LATE = 4.0  # seconds after the last submission, for those that are repeated late
ADMIN = Submission(0.0, "rush", "cleanup", {}, {})  # who may pause a queue
FINAL = frozenset({"succeeded", "failed", "cancelled", "expired"})


@dataclass
class Seen:
    """What the submitters know at last."""

    began: float = 0.0
    notes: dict[str, Notes] = field(default_factory=dict)  # of those accepted, by marker
    refused: list[str] = field(default_factory=list)  # markers
    gave_up: list[str] = field(default_factory=list)  # markers of jobs whose end did not come in time
    sent_again: int = 0


class Load:
    """Submits a plan, at all gateways by turns."""

    def __init__(self, plan: Plan, urls: list[str], receiver: str) -> None:
        self._plan = plan
        self._urls = urls
        self._receiver = receiver
        self._patience = plan.deadline  # of low priority, of a limited model: to the end
        self.seen = Seen()

    async def run(self) -> None:
        """Submit everything at its time, and see each submission to its end."""
        began, self.seen.began = time.monotonic(), time.time()
        async with session() as opened:
            client = Client(opened, self._urls)
            async with asyncio.TaskGroup() as group:
                for planned in self._plan.submissions:
                    await asyncio.sleep(began + planned.at - time.monotonic())
                    group.create_task(self._one(client, planned))
                    self.seen.sent_again = client.sent_again
            self.seen.sent_again = client.sent_again

    async def rush(self) -> None:
        """Pause the queues, submit what is to wait for them, and let them go on."""
        async with session() as opened:
            client = Client(opened, self._urls)
            await self._switch(client, "pause")
            try:
                async with asyncio.TaskGroup() as group:
                    for planned in self._plan.rush:
                        group.create_task(self._one(client, planned))
            finally:
                await self._switch(client, "resume")

    async def _switch(self, client: Client, how: str) -> None:
        for pool in ("llm", "sync"):
            await client.ask(ADMIN, "POST", f"/v1/queues/{pool}/{how}")

    async def _one(self, client: Client, planned: Submission) -> None:
        notes = Notes(sent=time.time())
        await asyncio.gather(*(self._post(client, planned, notes) for _ in range(1 + planned.repeats)))
        if not notes.ids:
            self.seen.refused.append(planned.marker)
            return
        self.seen.notes[planned.marker] = notes
        try:
            async with asyncio.timeout(self._patience), asyncio.TaskGroup() as group:
                group.create_task(self._besides(client, planned, notes))
                if planned.late:
                    group.create_task(self._repeat(client, planned, notes))
        except TimeoutError:
            self.seen.gave_up.append(planned.marker)

    async def _post(self, client: Client, planned: Submission, notes: Notes) -> int:
        query = dict(planned.query)
        if path := query.get("webhook_url"):
            query["webhook_url"] = self._receiver + path
        if seconds := query.get("run_at"):
            query["run_at"] = f"{datetime.fromtimestamp(self.seen.began + float(seconds), UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
        answer = await client.ask(planned, "POST", f"/v1/{planned.task}", json=planned.body, params=query)
        if answer.status in {200, 202}:
            notes.ids.add(answer.body["id"])
            notes.accepted = min(notes.accepted or answer.answered, answer.answered)
        return answer.status

    async def _repeat(self, client: Client, planned: Submission, notes: Notes) -> None:
        """Submit it once more when all is submitted."""
        await asyncio.sleep(self.seen.began + self._plan.seconds + LATE - time.time())
        notes.late = await self._post(client, planned, notes)

    async def _besides(self, client: Client, planned: Submission, notes: Notes) -> None:
        """Do what the plan says beyond submitting."""
        job = min(notes.ids)
        if planned.conflict and planned.task == "chat":
            other = {**planned.body, "temperature": 0.5}
            answer = await client.ask(planned, "POST", "/v1/chat", json=other)
            notes.conflict = answer.status
            notes.other = answer.body["id"] if answer.status in {200, 202} else ""
        if planned.cancel is not None:
            if planned.begun:
                await self._begins(client, planned, job)
            await asyncio.sleep(planned.cancel)
            notes.cancel = _wish(await client.ask(planned, "POST", f"/v1/jobs/{job}/cancel"))
            if notes.cancel.status == 200 and planned.retry:
                await self._retry(client, planned, job, notes)
            return
        async with asyncio.TaskGroup() as group:
            if planned.watch:
                group.create_task(watch(client, planned, job, notes))
            if planned.follow:
                group.create_task(self._follow(client, planned, job, notes))

    async def _follow(self, client: Client, planned: Submission, job: str, notes: Notes) -> None:
        """Wait for its end; if that is a bad one and the plan says so, let it run again, once."""
        seen = await self._end(client, planned, job, notes)
        if seen and seen["status"] in {"failed", "expired"} and planned.retry and not planned.watch:
            await self._retry(client, planned, job, notes)
            if notes.retry and notes.retry.status in {200, 202}:
                await self._end(client, planned, job, notes)

    async def _begins(self, client: Client, planned: Submission, job: str) -> None:
        """Wait until it runs, or never will."""
        while True:
            answer = await client.ask(planned, "GET", f"/v1/jobs/{job}")
            if answer.status == 404 or (answer.status == 200 and answer.body["status"] in {"running", *FINAL}):
                return
            await asyncio.sleep(0.2)

    async def _end(self, client: Client, planned: Submission, job: str, notes: Notes) -> dict[str, Any] | None:
        """Give the finished job; None if nobody knows it."""
        while True:
            answer = await client.ask(planned, "GET", f"/v1/jobs/{job}", params={"wait": "8"})
            if answer.status == 200:
                notes.shown.append(Shown(at=answer.answered, job=answer.body))
                if answer.body["status"] in FINAL:
                    found: dict[str, Any] = answer.body
                    return found
            elif answer.status == 404:
                return None
            else:
                await asyncio.sleep(0.2)

    async def _retry(self, client: Client, planned: Submission, job: str, notes: Notes) -> None:
        notes.retry = _wish(await client.ask(planned, "POST", f"/v1/jobs/{job}/retry"))


def _wish(answer: Answer) -> Wish:
    return Wish(sent=answer.sent, answered=answer.answered, status=answer.status, again=answer.again)
