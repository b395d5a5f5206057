"""A job's events as server-sent events."""

import logging
import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Header
from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import AppStatus, SendTimeoutError
from starlette.types import Receive, Scope, Send

from tandem.api.dependencies import TheBook
from tandem.api.jobs.access import NO_JOB, WatchedJob
from tandem.api.jobs.event_stream import EventStream, Gap
from tandem.api.jobs.subscriptions import TheSubscriptions
from tandem.api.links import JOBS
from tandem.api.server.errors import BadRequest, NotFound, raises
from tandem.api.server.routing import ApiRoute
from tandem.shared.errors import ServiceError
from tandem.shared.jobs.events import Event, Kind
from tandem.shared.store import events

router = APIRouter(prefix=JOBS, tags=["jobs"], route_class=ApiRoute)
log = logging.getLogger("tandem.api")

HEARTBEAT = 15  # seconds
SEND_TIMEOUT = 40.0  # seconds; who takes nothing for so long is dropped, if the kernel has not done it (listener.py)
RECONNECT = 1000  # milliseconds; what an EventSource waits before it comes again
SEQUENCE = re.compile(r"[0-9]{1,15}")
EXAMPLE = 'id: 3\nevent: status\ndata: {"status":"running","attempt":1,"at":"2026-11-23T01:28:21.669Z"}\n\n'
EVENT = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "description": "The event's number among the job's."},
        "event": {"enum": [*Kind]},
        "data": {"type": "string", "contentMediaType": "application/json"},
        "retry": {"type": "integer", "minimum": 0},
    },
}

# The library would cut the streams off half a second after SIGTERM; ours end by themselves (`Subscriptions.stop`).
AppStatus.disable_automatic_graceful_drain()  # type: ignore[no-untyped-call]  # it has no types here


class EventResponse(EventSourceResponse):
    """Server-sent events; a client that stops reading is dropped, which is no mistake of ours."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except SendTimeoutError:
            log.warning("%s: dropped, its reader took nothing for %g s", scope["path"], SEND_TIMEOUT)


@router.get(
    "/{job_id}/events",
    summary="What happens to a job, live: `status`, `progress`, `attempt`, `delta`, then `end` with the job.",
    description=(
        "Begins with the first event that is kept, or after `Last-Event-ID`. Ids are the job's own sequence numbers. "
        "A comment stands where events are not kept any more; if the next one is not, `X-Events-From` names the first "
        "that is."
    ),
    response_class=EventResponse,
    responses={
        200: {
            "content": {"text/event-stream": {"itemSchema": EVENT, "example": EXAMPLE}},
            "description": "The events, as they happen; the answer ends with the job.",
        },
    },
)
@raises(BadRequest, NotFound, ServiceError)
async def watch_job(
    job: WatchedJob,
    book: TheBook,
    subscriptions: TheSubscriptions,
    last_event_id: Annotated[str | None, Header(description="The last event that you have.")] = None,
) -> EventResponse:
    after = _sequence(last_event_id)
    extent = await book.run(events.extent(job.id))
    if extent is None:
        raise NotFound(NO_JOB)
    if subscriptions.stopping:
        raise ServiceError("this gateway shuts down")
    if after > extent.seq:
        raise BadRequest(f"Last-Event-ID: the job has had {extent.seq} events, not {after}")
    kept = await book.run(events.read(job.id, after=after, count=1))
    cut = bool(kept) and kept[0].seq > after + 1
    return EventResponse(
        _frames(EventStream(job.id, after=after, book=book, subscriptions=subscriptions)),
        headers={"X-Events-From": str(kept[0].seq)} if cut else None,
        ping=HEARTBEAT,
        ping_message_factory=lambda: ServerSentEvent(comment="still here", sep="\n"),
        send_timeout=SEND_TIMEOUT,
        sep="\n",
    )


def _sequence(header: str | None) -> int:
    """Read `Last-Event-ID`; an empty one says, as in an EventSource, that there was none."""
    if not header:
        return 0
    if not SEQUENCE.fullmatch(header):
        raise BadRequest("Last-Event-ID: must be the id of an event of this job, a whole number")
    return int(header)


async def _frames(stream: EventStream) -> AsyncIterator[ServerSentEvent]:
    # At once, so that a client knows that it is heard although nothing may have happened for long.
    yield ServerSentEvent(retry=RECONNECT, sep="\n")
    async with aclosing(stream.items()) as items:
        async for item in items:
            yield _frame(item)


def _frame(item: Event | Gap) -> ServerSentEvent:
    if isinstance(item, Gap):
        return ServerSentEvent(comment=f"events {item.first} to {item.last} are not kept any more", sep="\n")
    return ServerSentEvent(item.data, event=item.kind, id=str(item.seq), sep="\n")
