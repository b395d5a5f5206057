"""Why a job waits, in words."""

from fastapi import APIRouter
from pydantic import BaseModel, Field

from tandem.api.dependencies import TheBook
from tandem.api.jobs.access import NO_JOB, VisibleJob
from tandem.api.links import JOBS
from tandem.api.server.errors import NotFound, raises
from tandem.api.server.routing import ApiRoute
from tandem.shared.jobs.model import Job, iso
from tandem.shared.jobs.view import Time
from tandem.shared.limits import numbers as kinds
from tandem.shared.store.limits.explanation import Because, Explained, explain

router = APIRouter(prefix=JOBS, tags=["jobs"], route_class=ApiRoute)


class Explanation(BaseModel):
    """Why a job waits, as it is now."""

    because: Because | None = Field(
        description="What it waits for: its time (`scheduled`, `retry`), an operator (`paused`), a worker"
        " (`no_worker`), a provider's limit or park (`limiter`), one of its owner's or its task's jobs to end"
        " (`tenant_concurrency`, `task_concurrency`), or its turn (`fair_order`). Null: it does not wait."
    )
    detail: str = Field(description="The same in words; of a job that does not wait, its status.")
    ahead: int | None = Field(
        description="About how many jobs are served before it: its owner's, and a fair share of the others'."
        " Null: it does not wait, or its time has not come."
    )
    estimated_start: Time | None = Field(description="When it would start, as it looks now; null: nobody can say.")


@router.get(
    "/{job_id}/explain",
    summary="Why a job waits, and when it would start.",
    response_description="The reason, as it is now.",
)
@raises(NotFound)
async def explain_job(job: VisibleJob, book: TheBook) -> Explanation:
    explained = await book.run(explain(job.id))
    if explained is None:  # erased meanwhile
        raise NotFound(NO_JOB)
    return Explanation(
        because=explained.because,
        detail=_words(job, explained),
        ahead=explained.ahead,
        estimated_start=explained.estimated_start,
    )


def _words(job: Job, explained: Explained) -> str:
    match explained.because:
        case None:
            return explained.status
        case Because.FAIR_ORDER:
            return _turn(explained)
        case Because.LIMITER:
            words = LIMITER[explained.kind]
        case other:
            words = OTHERS[other]
    ends = f" until {iso(explained.ends)}" if explained.ends else ""
    said = words.format(queue=job.queue, owner=job.owner, task=job.task, name=explained.name, ends=ends)
    return f"{said}; about {_jobs(explained.ahead)} before it" if explained.ahead else said


OTHERS = {
    Because.PAUSED: "the {queue} queue is paused",
    Because.NO_WORKER: "no worker of the {queue} pool is alive",
    Because.TENANT_CONCURRENCY: "as many jobs of {owner} run in the {queue} pool as may at once",
    Because.TASK_CONCURRENCY: "as many jobs of the task {task} run as may at once",
    Because.SCHEDULED: "its time has not come: it waits{ends}",
    Because.RETRY: "it was tried before and is tried again later: it waits{ends}",
}
LIMITER = {
    kinds.BUSY: "{name} takes no requests{ends}: the provider said so",
    kinds.DOWN: "{name} takes no requests{ends}: nobody answers there; then it is tried",
    kinds.PROBING: "{name} took no requests; one is tried now, and its answer lets the others follow",
    kinds.FULL: "the limit {name} has no room{ends}",
    kinds.SPARE: "the limit {name} has no more than a fifth left{ends}, which idle jobs leave to others",
    kinds.IN_LINE: "later requests of jobs that have begun wait for the limit {name}, and go first",
}


def _turn(explained: Explained) -> str:
    if explained.kind == kinds.SUSPECT:
        return "its worker died with it more than once: it waits for a process of its own"
    if explained.ahead is None:
        return "no claim has looked at it yet"
    if explained.ahead == 0:
        return "it is next: it starts as soon as a worker has room"
    return f"it waits for its turn: about {_jobs(explained.ahead)} served before it"


def _jobs(count: int) -> str:
    return "1 job is" if count == 1 else f"{count} jobs are"
