"""A watcher comes to an end, also where it is told the same again and again."""

import asyncio

from aiohttp import web

from tandem.deploy.local.ports import free_port
from tests.chaos.load.client import Client, session
from tests.chaos.load.watchers import watch
from tests.chaos.outside.records import Notes
from tests.chaos.plan.model import Submission

LONG = 40  # events: more than a watcher stays for
WATCHED = Submission(0.0, "job-1-1.", "chat", {}, {}, watch=True)


async def watched(*, heeds: bool) -> Notes:
    """Watch a job that is over, at a gateway that heeds `Last-Event-ID`, or tells all from the beginning."""

    async def events(request: web.Request) -> web.Response:
        after = int(request.headers.get("Last-Event-ID", "0")) if heeds else 0
        kinds = {id_: "end" if id_ == LONG else "delta" for id_ in range(after + 1, LONG + 1)}
        return web.Response(text="".join(f"id: {id_}\nevent: {kind}\ndata: {{}}\n\n" for id_, kind in kinds.items()))

    async def job(_: web.Request) -> web.Response:
        return web.json_response({"finished_at": "2026-01-01T00:00:00Z"})

    app, notes = web.Application(), Notes(sent=0.0)
    app.router.add_get("/v1/jobs/id-1/events", events)
    app.router.add_get("/v1/jobs/id-1", job)
    runner, port = web.AppRunner(app), free_port()
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    async with session() as opened, asyncio.timeout(30):
        await watch(Client(opened, [f"http://127.0.0.1:{port}"]), WATCHED, "id-1", notes)
    await runner.cleanup()
    return notes


async def test_who_comes_back_goes_on_to_the_end() -> None:
    told = (await watched(heeds=True)).told
    assert [event.id for event in told] == list(range(1, LONG + 1))
    assert told[-1].kind == "end"
    assert told[-1].connection > 1


async def test_who_is_told_nothing_new_gives_up() -> None:
    notes = await watched(heeds=False)
    assert notes.watched
    assert notes.told[-1].kind == "delta"
    assert len({event.id for event in notes.told}) < len(notes.told)
