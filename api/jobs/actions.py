"""Changing jobs: stop them, run them again, erase them. The job book settles every race; the answer says who won."""

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query, Response

from tandem.api.auth.keys import Caller, require_admin
from tandem.api.dependencies import TheBook, TheCatalog, TheFiles, TheSettings
from tandem.api.jobs import artifacts
from tandem.api.jobs.bulk import Retried, RetryFilter, retry_matching
from tandem.api.jobs.parameters import JobId
from tandem.api.jobs.routes import find
from tandem.api.jobs.view import answer
from tandem.api.server.problems import invalid, responses
from tandem.shared.config.api_keys import ApiKey
from tandem.shared.jobs.model import FINAL, Status
from tandem.shared.jobs.view import AnyJob
from tandem.shared.store import commands
from tandem.shared.store.executor import AsyncBook

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

RETRIED = frozenset({Status.FAILED, Status.CANCELLED, Status.EXPIRED})


@router.post(
    "/{job_id}/cancel",
    summary="Stop a job: one that waits at once, one that runs within 2 s.",
    response_model=AnyJob,
    responses=responses(401, 404, 409, 422, 503),
)
async def cancel_job(job_id: JobId, caller: Caller, book: TheBook, settings: TheSettings) -> Response:
    await find(job_id, caller, book)
    was = await book.run(commands.cancel(job_id, ttl=settings.job_ttl))
    if was in FINAL:
        raise HTTPException(409, f"the job has ended already: it is {was}")
    return await _now(job_id, caller, book)


@router.post(
    "/{job_id}/retry",
    summary="Run a failed, cancelled or expired job again, attempts from zero.",
    response_model=AnyJob,
    responses=responses(401, 404, 409, 422, 503),
)
async def retry_job(job_id: JobId, caller: Caller, book: TheBook) -> Response:
    await find(job_id, caller, book)
    was = await book.run(commands.retry(job_id))
    if was is not None and was not in RETRIED:
        raise HTTPException(409, f"only failed, cancelled and expired jobs are run again; this one is {was}")
    return await _now(job_id, caller, book)


async def _now(job_id: str, caller: ApiKey, book: AsyncBook) -> Response:
    return answer(await find(job_id, caller, book))


@router.delete(
    "/{job_id}",
    summary="Erase a finished job: its record, its events and its file.",
    status_code=204,
    responses=responses(401, 404, 409, 422, 503),
)
async def delete_job(job_id: JobId, caller: Caller, book: TheBook, files: TheFiles) -> Response:
    # What is there before the job is seen to be finished is not of a run that a retry begins meanwhile.
    owned = await artifacts.of(files, (await find(job_id, caller, book)))
    job = await find(job_id, caller, book)
    if not job.finished:
        raise HTTPException(409, f"the job is {job.status}: cancel it first")
    # The record goes last: whatever ends this half-way, nothing is left that no record owns.
    await artifacts.erase(files, owned)
    if not await book.run(commands.erase([job_id])):
        job = await find(job_id, caller, book)  # another request has erased it: 404
        raise HTTPException(409, f"the job was run again meanwhile: it is {job.status}")
    return Response(status_code=204)


@router.post(
    "/retry",
    summary="Run all jobs again that match, newest first, at most 1000 at a time.",
    dependencies=[Depends(require_admin)],
    responses=responses(401, 403, 422, 503),
)
async def retry_jobs(which: Annotated[RetryFilter, Query()], book: TheBook, catalog: TheCatalog) -> Retried:
    if which.task is not None and which.task not in catalog:
        raise invalid("query", "task", f"no such task: {which.task}")
    return await retry_matching(book, which)
