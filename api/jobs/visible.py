"""The job that a path names, if the caller may see it."""

from typing import Annotated

from fastapi import Depends

from tandem.api.auth.keys import Caller, may_see
from tandem.api.dependencies import TheBook
from tandem.api.jobs.parameters import JobId
from tandem.api.server.errors import NotFound, raises
from tandem.shared.config.api_keys import ApiKey
from tandem.shared.jobs.model import Job
from tandem.shared.store import commands
from tandem.shared.store.executor import AsyncBook

NO_JOB = "no job with this id"


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
