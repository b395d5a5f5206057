"""Reading jobs and their files."""

from typing import Annotated

from fastapi import APIRouter, Header, Query, Response

from tandem.api.auth.keys import Caller
from tandem.api.dependencies import TheArtifacts, TheBook, TheCatalog
from tandem.api.jobs import cursor as cursors
from tandem.api.jobs import download
from tandem.api.jobs.access import VisibleJob
from tandem.api.jobs.parameters import Wait
from tandem.api.jobs.subscriptions import TheSubscriptions
from tandem.api.jobs.view import answer, show
from tandem.api.links import JOBS
from tandem.api.server.errors import Invalid, NotFound, raises
from tandem.api.server.routing import ApiRoute
from tandem.shared.config.api_keys import Role
from tandem.shared.jobs.model import Status
from tandem.shared.jobs.view import AnyJob, JobPage
from tandem.shared.store import commands, listing
from tandem.shared.store.executor import AsyncBook
from tandem.shared.store.listing import Filter, Page
from tandem.shared.tasks.spec import Queue

router = APIRouter(prefix=JOBS, tags=["jobs"], route_class=ApiRoute)

LOOKS = 100  # stretches of a listing looked at for one page


@router.get("", summary="Jobs, newest first: an owner's own, for an admin all.")
async def list_jobs(
    caller: Caller,
    book: TheBook,
    catalog: TheCatalog,
    status: Status | None = None,
    task: str | None = None,
    queue: Queue | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> JobPage:
    if task is not None and task not in catalog:
        raise Invalid("query", "task", f"no such task: {task}")
    owner = "" if caller.role is Role.ADMIN else caller.name
    which = Filter(owner=owner, task=task or "", queue=queue or "", status=status or "")
    try:
        after = cursors.decode(cursor, which) if cursor else listing.START
    except cursors.BadCursor as error:
        raise Invalid("query", "cursor", str(error)) from None
    page = await _collect(book, which, after, limit)
    jobs = await book.run_all([commands.fetch(job_id) for job_id in page.ids])
    return JobPage(
        jobs=[show(job) for job in jobs if job],
        next=cursors.encode(page.next, which) if page.next else None,
    )


async def _collect(book: AsyncBook, which: Filter, after: listing.Position, limit: int) -> Page:
    ids: list[str] = []
    for _ in range(LOOKS):
        page = await book.run(listing.page(which, after=after, limit=limit - len(ids)))
        ids += page.ids
        if page.next is None or len(ids) == limit:
            return Page(ids, page.next)
        after = page.next
    return Page(ids, after)


@router.get("/{job_id}", summary="A job.", response_model=AnyJob)
async def get_job(job: VisibleJob, subscriptions: TheSubscriptions, wait: Wait = 0) -> Response:
    if wait and not job.finished:
        job = await subscriptions.wait(job, wait)
    return answer(job)


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
    job: VisibleJob,
    files: TheArtifacts,
    range_: Annotated[str | None, Header(alias="Range")] = None,
    if_range: Annotated[str | None, Header()] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    if job.file is None:
        raise NotFound("the job has no file")
    wanted = range_ if if_range is None or if_range == download.etag(job.file) else None
    return await download.answer(files, job.file, range_=wanted, if_none_match=if_none_match)
