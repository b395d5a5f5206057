"""Reading jobs and their files."""

import json
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel, Field

from tandem.api.auth import job_token
from tandem.api.auth.keys import Caller
from tandem.api.dependencies import TheArtifacts, TheBook, TheCatalog
from tandem.api.jobs import cursor as cursors
from tandem.api.jobs import download
from tandem.api.jobs.access import VisibleJob, WatchedJob, find
from tandem.api.jobs.outgoing import TheOutgoing
from tandem.api.jobs.parameters import JobId, Wait
from tandem.api.jobs.subscriptions import TheSubscriptions
from tandem.api.jobs.view import json_answer, write
from tandem.api.links import JOBS
from tandem.api.server.errors import Forbidden, Invalid, NotFound, raises
from tandem.api.server.routing import ApiRoute
from tandem.shared.config.api_keys import ApiKey, Role
from tandem.shared.errors import StoreUnavailable, UnreadableRecord
from tandem.shared.jobs.model import Job, Status
from tandem.shared.jobs.view import CallersJob, JobPage, Time
from tandem.shared.store import commands, listing
from tandem.shared.store.executor import AsyncBook
from tandem.shared.store.listing import Filter, Page
from tandem.shared.tasks.spec import Queue

INLINE = 2048  # bytes of a result that a listing carries
LOOKS = 40  # stretches of a listing looked at for one page
SHOWN = 100  # characters of a name that there is not

log = logging.getLogger("tandem.api")

router = APIRouter(prefix=JOBS, tags=["jobs"], route_class=ApiRoute)


class JobToken(BaseModel):
    """A token and when it ends; it is no other key than the one that it was made with, for one job."""

    token: str = Field(description="For `?token=` of the job's events and file.")
    expires_at: Time = Field(description="When it ends; take a new one then.")


@router.get(
    "",
    summary="Jobs, newest first: an owner's own, for an admin all.",
    description=f"A result of more than {INLINE} bytes is left out, with `result_omitted: true`: the job has it.",
    response_model=JobPage,
    response_description="A page of jobs, and the cursor of the next one.",
)
@raises(Forbidden)
async def list_jobs(
    caller: Caller,
    book: TheBook,
    catalog: TheCatalog,
    status: Annotated[Status | None, Query(description="Only jobs of this status.")] = None,
    task: Annotated[str | None, Query(description="Only jobs of this task.")] = None,
    queue: Annotated[Queue | None, Query(description="Only jobs of this pool.")] = None,
    owner: Annotated[str | None, Query(min_length=1, max_length=100, description="One key's jobs; for admins.")] = None,
    limit: Annotated[int, Query(ge=1, le=200, description="Jobs on a page, at most.")] = 50,
    cursor: Annotated[str | None, Query(max_length=500, description="`next` of the page before.")] = None,
) -> Response:
    if task is not None and task not in catalog:
        raise Invalid("query", "task", f"no such task: {task[:SHOWN]}")
    if caller.role is not Role.ADMIN and owner is not None:
        raise Forbidden("owner: this filter needs a key of role admin")
    whose = owner or "" if caller.role is Role.ADMIN else caller.name
    which = Filter(owner=whose, task=task or "", queue=queue or "", status=status or "")
    try:
        after = cursors.decode(cursor, which) if cursor else listing.START
    except cursors.BadCursor as error:
        raise Invalid("query", "cursor", str(error)) from None
    page = await _collect(book, which, after, limit)
    shown = b",".join(await _write_all(book, page.ids, caller))
    following = json.dumps(cursors.encode(page.next, which) if page.next else None)
    return json_answer([b'{"jobs":[', shown, b'],"next":', following.encode(), b"}"])


async def _write_all(book: AsyncBook, ids: Sequence[str], caller: ApiKey) -> list[bytes]:
    """Write jobs. One whose record somebody has spoilt is left out: it must not hide the others."""
    written: list[bytes] = []
    outcomes = await book.attempt_all([commands.fetch_bounded(job_id, most=INLINE) for job_id in ids])
    for job_id, outcome in zip(ids, outcomes, strict=True):
        if isinstance(outcome, StoreUnavailable):
            raise outcome
        try:
            written += _write_one(outcome, caller)
        except Exception as error:  # noqa: BLE001 - whatever it is that can't be read
            log.warning("%s is left out of a listing: its record can't be read (%s)", job_id, type(error).__name__)
    return written


def _write_one(outcome: Job | Exception | None, caller: ApiKey) -> list[bytes]:
    if isinstance(outcome, Exception):
        raise outcome
    return [b"".join(write(outcome, caller))] if outcome else []


async def _collect(book: AsyncBook, which: Filter, after: listing.Position, limit: int) -> Page:
    ids: list[str] = []
    for _ in range(LOOKS):
        page = await book.run(listing.page(which, after=after, limit=limit - len(ids)))
        ids += page.ids
        if page.next is None or len(ids) == limit:
            return Page(ids, page.next)
        after = page.next
    return Page(ids, after)


@router.get(
    "/{job_id}",
    summary="A job.",
    response_model=CallersJob,
    response_description="The job as it is now, or at the end of `wait`.",
)
@raises(NotFound)
async def get_job(
    job_id: JobId,
    caller: Caller,
    book: TheBook,
    subscriptions: TheSubscriptions,
    outgoing: TheOutgoing,
    wait: Wait = 0,
    include: Annotated[Literal["input"] | None, Query(description="`input`: what was submitted, too.")] = None,
) -> Response:
    job = await find(job_id, caller, book)
    if wait and not job.finished:
        job = await subscriptions.wait(job, wait)
    if include is None:
        return outgoing.answer(job, caller=caller)
    try:
        stored = await book.run_large(commands.read_input(job_id))
    except UnreadableRecord as error:
        raise NotFound(str(error)) from error
    return outgoing.answer(job, caller=caller, more={"input": stored or b"null"})


@router.post(
    "/{job_id}/token",
    summary="A token for this job's events and file alone, as `?token=`: browsers' EventSource can send no key.",
    response_description="The token.",
)
async def make_token(job: VisibleJob, caller: Caller, response: Response) -> JobToken:
    response.headers["Cache-Control"] = "no-store"
    expires = datetime.now(UTC).replace(microsecond=0) + job_token.VALID
    return JobToken(token=job_token.make(caller, job.id, expires), expires_at=expires)


@router.get(
    "/{job_id}/file",
    summary="The file that a job made.",
    response_class=Response,
    responses={
        200: {"content": {"application/octet-stream": {}}, "description": "The whole file."},
        206: {"content": {"application/octet-stream": {}}, "description": "The part that `Range` asks for."},
        304: {"description": "Unchanged since `If-None-Match`."},
        416: {"description": "No such range."},
    },
)
@raises(NotFound)
async def get_file(
    job: WatchedJob,
    files: TheArtifacts,
    range_: Annotated[str | None, Header(alias="Range", description="Only these bytes: `bytes=0-1023`.")] = None,
    if_range: Annotated[
        str | None, Header(description="An `ETag`: heed `Range` only if it is still this file.")
    ] = None,
    if_none_match: Annotated[str | None, Header(description="An `ETag`: 304 if it is still this file.")] = None,
) -> Response:
    if job.file is None:
        raise NotFound("the job has no file")
    wanted = range_ if if_range is None or if_range == download.etag(job.file) else None
    return await download.answer(files, job.file, range_=wanted, if_none_match=if_none_match)
