"""Changing jobs: stop them, run them again, erase them. The job book settles every race; the answer says who won."""

import logging
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from tandem.api.auth.keys import Caller, require_admin
from tandem.api.dependencies import TheArtifacts, TheBook, TheCatalog, TheSettings
from tandem.api.jobs.access import VisibleJob, find
from tandem.api.jobs.bulk import Retried, RetryFilter, retry_matching
from tandem.api.jobs.view import answer
from tandem.api.links import JOBS
from tandem.api.server.errors import Conflict, Invalid, raises
from tandem.api.server.routing import ApiRoute
from tandem.shared.config.api_keys import ApiKey
from tandem.shared.jobs.model import FINAL, Job, Status
from tandem.shared.jobs.view import AnyJob
from tandem.shared.storage import artifacts
from tandem.shared.store import commands
from tandem.shared.store.executor import AsyncBook

log = logging.getLogger("tandem.api")
router = APIRouter(prefix=JOBS, tags=["jobs"], route_class=ApiRoute)

RETRIED = frozenset({Status.FAILED, Status.CANCELLED, Status.EXPIRED})


async def _not_ours(job_id: str, caller: ApiKey, book: AsyncBook) -> Conflict:
    """Say why the book left a job alone. Raises NotFound: it was erased meanwhile."""
    return _unknown(await find(job_id, caller, book, result=False))


def _unknown(job: Job) -> Conflict:
    return Conflict(f"this version can't change the job: it is {job.status}, or has what only a newer version knows")


@router.post(
    "/{job_id}/cancel",
    summary="Stop a job: one that waits at once, one that runs within 2 s.",
    response_model=AnyJob,
    response_description="The job, cancelled.",
)
@raises(Conflict)
async def cancel_job(job: VisibleJob, caller: Caller, book: TheBook, settings: TheSettings) -> Response:
    was = await book.run(commands.cancel(job.id, ttl=settings.job_ttl))
    if was is None:
        raise await _not_ours(job.id, caller, book)
    if was in FINAL:
        raise Conflict(f"the job has ended already: it is {was}")
    log.info("cancelled by %s, it was %s", caller.name, was, extra={"job": job.id, "task": job.task})
    return answer(await find(job.id, caller, book), caller=caller)


@router.post(
    "/{job_id}/retry",
    summary="Run a failed, cancelled or expired job again, attempts from zero.",
    response_model=AnyJob,
    response_description="The job, which waits again.",
)
@raises(Conflict)
async def retry_job(job: VisibleJob, caller: Caller, book: TheBook, settings: TheSettings) -> Response:
    was = await book.run(commands.retry(job.id, max_age=settings.max_age or None))
    if was is None:
        raise await _not_ours(job.id, caller, book)
    if was not in RETRIED:
        raise Conflict(f"only failed, cancelled and expired jobs are run again; this one is {was}")
    return answer(await find(job.id, caller, book), caller=caller)


@router.delete(
    "/{job_id}",
    summary="Erase a finished job: its record, its events and its file.",
    status_code=204,
    response_description="It is erased.",
)
@raises(Conflict)
async def delete_job(job: VisibleJob, caller: Caller, book: TheBook, files: TheArtifacts) -> Response:
    # What is there before the job is seen to be finished is not of a run that a retry begins meanwhile.
    owned = await artifacts.keys_of(files, owner=job.owner, job=job.id)
    job = await find(job.id, caller, book, result=False)
    if job.status not in frozenset(Status):
        raise _unknown(job)
    if not job.finished:
        raise Conflict(f"the job is {job.status}: cancel it first")
    # The record goes last: whatever ends this half-way, nothing is left that no record owns.
    await artifacts.erase(files, owned)
    if not await book.run(commands.erase(job.id)):
        job = await find(job.id, caller, book, result=False)  # another request has erased it: 404
        raise Conflict(f"the job was run again meanwhile: it is {job.status}")
    return Response(status_code=204)


@router.post(
    "/retry",
    summary="Run all jobs again that match, newest first, at most 1000 at a time.",
    response_description="How many wait again.",
    dependencies=[Depends(require_admin)],
)
async def retry_jobs(
    which: Annotated[RetryFilter, Query()], book: TheBook, catalog: TheCatalog, settings: TheSettings
) -> Retried:
    if which.task is not None and which.task not in catalog:
        raise Invalid("query", "task", f"no such task: {which.task}")
    return await retry_matching(book, which, max_age=settings.max_age)
