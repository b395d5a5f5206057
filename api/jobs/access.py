"""Who may see which job; the job that a path names."""

from typing import Annotated

from fastapi import Depends

from tandem.api.auth.job_token import Watcher
from tandem.api.auth.keys import Caller
from tandem.api.dependencies import TheBook
from tandem.api.jobs import outgoing
from tandem.api.jobs.parameters import JobId
from tandem.api.server.errors import NotFound, raises
from tandem.shared.config.api_keys import ApiKey, Role
from tandem.shared.errors import UnreadableRecord
from tandem.shared.jobs.model import Job
from tandem.shared.store import commands
from tandem.shared.store.executor import AsyncBook

NO_JOB = "no job with this id"


def may_see(caller: ApiKey, job: Job) -> bool:
    """An owner sees own jobs, an admin all."""
    return caller.role is Role.ADMIN or job.owner == caller.name


async def find(job_id: str, caller: ApiKey, book: AsyncBook, *, result: bool = True) -> Job:
    """Read a job that the caller may see; not all need its result, and none is large. Raises NotFound."""
    try:
        job = await book.run(outgoing.read(job_id) if result else commands.fetch_bounded(job_id, most=0))
    except UnreadableRecord as error:
        raise NotFound(str(error) if caller.role is Role.ADMIN or error.owner == caller.name else NO_JOB) from error
    if job is None or not may_see(caller, job):
        raise NotFound(NO_JOB)
    return job


@raises(NotFound)
async def _named(job_id: JobId, caller: Caller, book: TheBook) -> Job:
    return await find(job_id, caller, book, result=False)


VisibleJob = Annotated[Job, Depends(_named)]


@raises(NotFound)
async def _watched(job_id: JobId, watcher: Watcher, book: TheBook) -> Job:
    return await find(job_id, watcher, book, result=False)


WatchedJob = Annotated[Job, Depends(_watched)]  # also with a token for it; without its result, as VisibleJob
