"""A job's artefacts in the store of files: those of all its runs, also of runs that failed."""

from collections.abc import Sequence

import obstore
from obstore.exceptions import BaseError
from obstore.store import ObjectStore

from tandem.shared.errors import ServiceError
from tandem.shared.jobs.model import Job

AWAY = "the store of files does not take requests now"


async def of(files: ObjectStore, job: Job) -> Sequence[str]:
    """List the keys of a job's artefacts. Raises ServiceError: the store does not answer."""
    try:
        return [item["path"] async for batch in obstore.list(files, prefix=f"{job.owner}/{job.id}") for item in batch]
    except BaseError as error:
        raise ServiceError(AWAY) from error


async def erase(files: ObjectStore, keys: Sequence[str]) -> None:
    """Remove artefacts; one that is gone already is no error. Raises ServiceError: the store does not answer."""
    for key in keys:
        try:
            await obstore.delete_async(files, key)
        except FileNotFoundError:
            continue
        except BaseError as error:
            raise ServiceError(AWAY) from error
