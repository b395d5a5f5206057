"""A watcher of one job's events, who leaves now and then and comes again where it was, at another gateway."""

import asyncio
import time
from random import Random

from aiohttp import ClientTimeout

from tests.chaos.load.client import BROKEN, Client, headers
from tests.chaos.outside.records import Notes, Told
from tests.chaos.plan.model import Submission

STAYS = (1, 6)  # events, at least and at most, after which it leaves
ENOUGH = 3  # connections that were taken and told nothing new, although the job was over: the end is not told
SILENCE = 17.0  # seconds without a byte after which it takes the connection for dead; gateways send a comment each 15


async def watch(client: Client, planned: Submission, job: str, notes: Notes) -> None:
    """Follow the events to the end; what comes is noted. Whoever waits too long cancels it."""
    chance, connection, empty = Random(planned.marker), 0, 0  # noqa: S311
    while not (notes.told and notes.told[-1].kind == "end") and empty < ENOUGH:
        over = await _is_over(client, planned, job)
        before, connection = _newest(notes), connection + 1
        try:
            taken = await _connect(client, planned, job, notes, connection=connection, stay=chance.randint(*STAYS))
        except TimeoutError:
            taken = True  # it was silent
        except BROKEN:
            taken = False
            await asyncio.sleep(0.1)
        if over and taken and _newest(notes) == before:
            empty += 1  # the end that it should have got is for the judge to miss
    notes.watched = True


def _newest(notes: Notes) -> int:
    return max((event.id for event in notes.told), default=0)


async def _is_over(client: Client, planned: Submission, job: str) -> bool:
    """Say whether nothing more can come: the job has ended, or is not there (Redis lost it)."""
    answer = await client.ask(planned, "GET", f"/v1/jobs/{job}")
    return answer.status == 404 or (answer.status == 200 and bool(answer.body["finished_at"]))


async def _connect(client: Client, planned: Submission, job: str, notes: Notes, *, connection: int, stay: int) -> bool:
    """Listen for a while. Says whether the gateway took the connection."""
    more = {"Last-Event-ID": str(notes.told[-1].id)} if notes.told else {}
    url, patience = f"{client.url()}/v1/jobs/{job}/events", ClientTimeout(total=None, sock_read=SILENCE)
    async with client.session.get(url, headers={**headers(planned), **more}, timeout=patience) as answer:
        if answer.status == 404:
            return True
        if answer.status != 200:
            await asyncio.sleep(0.5)
            return False
        event: dict[str, str] = {}
        async for raw in answer.content:
            line = raw.decode().rstrip("\r\n")
            name, _, value = line.partition(": ")
            if line and name in {"id", "event", "data"}:
                event[name] = value
            elif not line and "data" in event:
                notes.told.append(_told(event, connection))
                event, stay = {}, stay - 1
                if stay <= 0:
                    return True
    return True


def _told(event: dict[str, str], connection: int) -> Told:
    return Told(at=time.time(), connection=connection, id=int(event["id"]), kind=event["event"], data=event["data"])
