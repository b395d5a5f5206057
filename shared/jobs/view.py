"""A job as the outside sees it: in answers, in events and in webhooks."""

from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, Field, PlainSerializer

from tandem.shared.jobs.model import Job, Status, iso

R = TypeVar("R")
Time = Annotated[datetime, PlainSerializer(iso, return_type=str)]


class AttemptView(BaseModel):
    attempt: int
    type: str
    message: str
    at: str


class ErrorView(BaseModel):
    type: str
    message: str
    retryable: bool
    attempts: list[AttemptView] = []


class UsageView(BaseModel):
    input_tokens: int
    output_tokens: int
    requests: int


class ProgressView(BaseModel):
    done: int | float
    total: int | float | None = None
    message: str | None = None


class Links(BaseModel):
    self: str
    events: str
    file: str | None = None


class JobView(BaseModel, Generic[R]):
    """A job. Times are UTC by Redis's clock."""

    id: str
    task: str
    queue: str
    status: Status
    priority: str
    attempt: int = Field(description="Attempts begun, this one included.")
    max_attempts: int
    created_at: Time
    run_at: Time | None = None
    started_at: Time | None = None
    finished_at: Time | None = None
    progress: ProgressView | None = None
    result: R | None = None
    error: ErrorView | None = None
    usage: UsageView | None = None
    provider: str | None = None
    estimated_start: Time | None = Field(
        default=None, description="While it waits: when it would start, by how fast its queue drained at submit."
    )
    deliveries: list[dict[str, Any]] = []
    links: Links


AnyJob = JobView[Any]


class JobPage(BaseModel):
    jobs: list[AnyJob]
    next: str | None = Field(description="Cursor of the next page; null at the end.")


def links_of(url: str, *, file: bool) -> Links:
    """Make a job's links of its URL."""
    return Links(self=url, events=f"{url}/events", file=f"{url}/file" if file else None)


def show(job: Job, links: Links) -> AnyJob:
    """Show a record. A last error stays visible while its retry waits; a success has none."""
    return AnyJob(
        id=job.id,
        task=job.task,
        queue=job.queue,
        status=job.status,
        priority=job.priority,
        attempt=job.attempt,
        max_attempts=job.max_attempts,
        created_at=job.created_at,
        run_at=job.run_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        progress=ProgressView(**job.progress) if job.progress else None,
        result=_result(job, links),
        error=ErrorView(**job.error, attempts=[AttemptView(**entry) for entry in job.attempts]) if job.error else None,
        usage=UsageView(**vars(job.usage)),
        provider=job.provider,
        estimated_start=job.estimated_start if job.waiting else None,
        deliveries=job.deliveries,
        links=links,
    )


def _result(job: Job, links: Links) -> Any:
    """Give the result; where its `file` leaves the `url` empty, this is the job's file, whose link no worker knows."""
    if job.file and isinstance(job.result, dict) and (file := job.result.get("file")):
        return {**job.result, "file": {**file, "url": file.get("url") or links.file}}
    return job.result
