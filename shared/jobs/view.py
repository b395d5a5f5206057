"""A job as the outside sees it: in answers, in events and in webhooks."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, Field, PlainSerializer

from tandem.shared.jobs.model import Job, Status, iso

R = TypeVar("R")
PUSHED = 256 * 1024  # bytes of a result that `end` events and webhooks carry; a larger one is on the job's page alone
NOTHING = "null}"  # how a job without a result ends
NOT_LEFT_OUT: Mapping[str, Any] = {}
UNTRACED: Mapping[str, Any] = {"error": {"attempts": {"__all__": {"trace"}}}}
Time = Annotated[datetime, PlainSerializer(iso, return_type=str)]


class AttemptView(BaseModel):
    attempt: int
    type: str
    message: str
    at: str
    trace: str | None = Field(default=None, description="For admins: where an error that nobody foresaw was raised.")


class ErrorView(BaseModel):
    type: str
    message: str
    retryable: bool
    attempts: list[AttemptView] = []


class UsageView(BaseModel):
    input_tokens: int
    output_tokens: int
    requests: int
    estimated_tokens: int = Field(
        default=0,
        exclude_if=lambda tokens: not tokens,
        description="Those among the tokens that the provider did not tell, as of an answer that was cancelled.",
    )


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
    status: Status | str = Field(description="A newer version may have others than these.")
    priority: str
    attempt: int = Field(description="Attempts begun, this one included.")
    max_attempts: int
    created_at: Time
    run_at: Time | None = None
    started_at: Time | None = None
    finished_at: Time | None = None
    progress: ProgressView | None = None
    error: ErrorView | None = None
    usage: UsageView | None = None
    provider: str | None = None
    estimated_start: Time | None = Field(
        default=None, description="While it waits: when it would start, as it looked at submit; null: nobody could say."
    )
    deliveries: list[dict[str, Any]] = []
    links: Links
    result_omitted: bool = Field(
        default=False, description="The result is too large to be carried here; `links.self` has it."
    )
    result: R | None = None  # the last one: `render` puts it there


AnyJob = JobView[Any]


class CallersJob(JobView[Any]):
    """A job with what only some callers get, or only who asks for it. For documents: `render` writes it."""

    owner: str = Field(default="", description="The name of the key that submitted it. For admins.")
    input: Any = Field(default=None, description="With `include=input`.")


class JobPage(BaseModel):
    jobs: list[CallersJob]
    next: str | None = Field(description="Cursor of the next page; null at the end.")


def links_of(url: str, *, file: bool) -> Links:
    """Make a job's links of its URL."""
    return Links(self=url, events=f"{url}/events", file=f"{url}/file" if file else None)


def show(job: Job, links: Links) -> AnyJob:
    """Show a record without its result. A last error stays visible while its retry waits; a success has none."""
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
        error=ErrorView(**job.error, attempts=[AttemptView(**entry) for entry in job.attempts]) if job.error else None,
        usage=UsageView(**vars(job.usage)),
        provider=job.provider,
        estimated_start=job.estimated_start if job.waiting else None,
        deliveries=job.deliveries,
        links=links,
        result_omitted=job.result_omitted,
    )


def render(
    job: Job,
    links: Links,
    *,
    more: Mapping[str, bytes] | None = None,
    admin: bool = False,
    without: Mapping[str, Any] = NOT_LEFT_OUT,
) -> list[bytes]:
    """Write a record as JSON, in pieces: a result, and `more` fields, go as they are stored, without being decoded."""
    exclude = {**without, **UNTRACED} if job.error and not admin else without
    text = show(job, links).model_dump_json(exclude=dict(exclude) or None)
    fields = {**(more or {}), **({"owner": json.dumps(job.owner).encode()} if admin else {})}
    if not fields and job.result_json is None:
        return [text.encode()]
    pieces = [text.removesuffix(NOTHING).encode(), _result(job, links)]
    for name, value in fields.items():
        pieces += [f',"{name}":'.encode(), value]
    return [*pieces, b"}"]


def _result(job: Job, links: Links) -> bytes:
    """Give the result; where its `file` leaves the `url` empty, this is the job's file, whose link no worker knows."""
    if job.file and isinstance(job.result, dict) and isinstance(file := job.result.get("file"), dict):
        return json.dumps({**job.result, "file": {**file, "url": file.get("url") or links.file}}).encode()
    return job.result_json or b"null"
