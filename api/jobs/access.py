"""Who may see which job; the job that a path names."""

from typing import Annotated

from fastapi import Depends

from tandem.api.auth.keys import Caller
from tandem.api.dependencies import TheBook
from tandem.api.jobs.parameters import JobId
from tandem.api.server.errors import NotFound, raises
from tandem.shared.config.api_keys import ApiKey, Role
from tandem.shared.jobs.model import Job
from tandem.shared.store import commands
from tandem.shared.store.executor import AsyncBook

NO_JOB = "no job with this id"


def may_see(caller: ApiKey, job: Job) -> bool:
    """An owner sees own jobs, an admin all."""
    return caller.role is Role.ADMIN or job.owner == caller.name


async def find(job_id: str, caller: ApiKey, book: AsyncBook) -> Job:
    """Read a job that the caller may see. Raises NotFound."""
    job = await book.run(commands.fetch(job_id))
    if job is None or not may_see(caller, job):
        raise NotFound(NO_JOB)
    return job


@raises(NotFound)
async def _named(job_id: JobId, caller: Caller, book: TheBook) -> Job:
    return await find(job_id, caller, book)


VisibleJob = Annotated[Job, Depends(_named)]
