"""A job as the outside sees it: in answers, in events and in webhooks."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer

from tandem.shared.jobs.model import Job, Status, iso

R = TypeVar("R")
PUSHED = 256 * 1024  # bytes of a result that `end` events and webhooks carry; a larger one is on the job's page alone
NOTHING = "null}"  # how a job without a result ends
NOT_LEFT_OUT: Mapping[str, Any] = {}
UNTRACED: Mapping[str, Any] = {"error": {"attempts": {"__all__": {"trace"}}}}
Time = Annotated[datetime, PlainSerializer(iso, return_type=str)]


def message_id(delivery: str) -> str:
    """Give a delivery's id as receivers know it."""
    return f"msg_{delivery}"


class AttemptView(BaseModel):
    """An attempt that failed."""

    attempt: int = Field(description="Its number, from 1.")
    type: str = Field(description="What went wrong, in one word: tables in docs/api.md and docs/providers.md.")
    message: str = Field(description="The same for people; it holds nothing of the input.")
    at: str = Field(description="When it failed.")
    trace: str | None = Field(default=None, description="For admins: where an error that nobody foresaw was raised.")


class ErrorView(BaseModel):
    """Why a job failed or has expired, or why its last attempt failed, while it waits for the next one."""

    type: str = Field(description="What went wrong, in one word: tables in docs/api.md and docs/providers.md.")
    message: str = Field(description="The same for people; it holds nothing of the input.")
    retryable: bool = Field(description="Whether another attempt could help.")
    attempts: list[AttemptView] = Field(default=[], description="The attempts that failed, the first one first.")


class UsageView(BaseModel):
    """What the job cost at providers, over all its attempts; without what a run that died with its worker had used."""

    input_tokens: int = Field(description="Tokens of prompts.")
    output_tokens: int = Field(description="Tokens of answers.")
    requests: int = Field(description="Requests that providers were sent.")
    estimated_tokens: int = Field(
        default=0,
        exclude_if=lambda tokens: not tokens,
        description="Those among the tokens that the provider did not tell, as of an answer that was cancelled.",
    )


class ProgressView(BaseModel):
    """How far the run is, as its task tells."""

    done: int | float = Field(description="Parts that are done.")
    total: int | float | None = Field(default=None, description="Of how many; null: nobody knows.")
    message: str | None = Field(default=None, description="What it is doing.")


class DeliveryView(BaseModel):
    """A webhook: one for each end of the job."""

    id: Annotated[str, AfterValidator(message_id)] = Field(
        description="What the receiver finds in the header `webhook-id`, the same in every try."
    )
    event: str = Field(description="`job.succeeded`, `job.failed`, `job.cancelled` or `job.expired`.")
    url: str = Field(description="Who is called.")
    status: str = Field(description="`pending`, `delivered`, or `failed`: given up.")
    attempt: int = Field(description="Tries begun.")
    at: str = Field(description="When the job ended.")
    next_at: str | None = Field(default=None, description="When it is tried again; null: it is over, or is tried now.")
    response_status: int | None = Field(default=None, description="HTTP status of the last try; null: no answer.")
    error: str | None = Field(default=None, description="What went wrong in the last try.")


class Links(BaseModel):
    """Where more of the job is; paths on this gateway."""

    self: str = Field(description="The job's own page.")
    events: str = Field(description="What happens to it, as server-sent events.")
    file: str | None = Field(default=None, description="The file that it made; null: none.")


class JobView(BaseModel, Generic[R]):
    """A job. Times are UTC by Redis's clock."""

    # Also of the models that are made of it for each task.
    model_config = ConfigDict(json_schema_extra={"description": "A job. Times are UTC by Redis's clock."})

    id: str = Field(description="A ULID; of a schedule's job, the schedule's name and the due time.")
    task: str = Field(description="The task's name, as in `GET /v1/tasks`.")
    queue: str = Field(description="The pool that runs it: `llm` or `sync`.")
    status: Status | str = Field(
        description="`scheduled` (its time has not come), `queued`, `running`; and, for good, `succeeded`, `failed`,"
        " `cancelled` or `expired`. A newer version may have others."
    )
    priority: str = Field(description="`high`, `normal`, `low` or `idle`.")
    attempt: int = Field(description="Attempts begun, this one included. One that was given back does not count.")
    max_attempts: int = Field(description="After so many that failed the job is `failed`.")
    created_at: Time = Field(description="When it was submitted.")
    run_at: Time | None = Field(
        default=None,
        description="While it is `scheduled`: when it may start, by `run_at` or `delay`, or be tried again.",
    )
    started_at: Time | None = Field(default=None, description="When its last attempt began.")
    finished_at: Time | None = Field(default=None, description="When it ended, for good.")
    progress: ProgressView | None = Field(default=None, description="How far it is; null: its task does not tell.")
    error: ErrorView | None = Field(
        default=None, description="Why it failed, or its last attempt did; null once it has succeeded."
    )
    usage: UsageView | None = Field(default=None, description="What it cost at providers so far.")
    provider: str | None = Field(
        default=None,
        description="The provider that answered: its name in `TANDEM_CONFIG`; else `openai`, its host or `stand-in`.",
    )
    estimated_start: Time | None = Field(
        default=None, description="While it waits: when it would start, as it looked at submit; null: nobody could say."
    )
    deliveries: list[DeliveryView] = Field(default=[], description="Its webhooks.")
    links: Links = Field(description="Where more of it is.")
    result_omitted: bool = Field(
        default=False, description="The result is too large to be carried here; `links.self` has it."
    )
    result_lost: bool = Field(
        default=False,
        exclude_if=lambda lost: not lost,
        description="Only here if true: the result is not where it was stored any more, and `result` is null for good.",
    )
    # The last one: `render` puts it there.
    result: R | None = Field(default=None, description="What its task gave; null until it has succeeded.")


AnyJob = JobView[Any]


class CallersJob(JobView[Any]):
    """A job with what only some callers get, or only who asks for it. For documents: `render` writes it."""

    owner: str = Field(default="", description="The name of the key that submitted it. For admins.")
    input: Any = Field(default=None, description="With `include=input`.")


class JobPage(BaseModel):
    """A page of a listing."""

    jobs: list[CallersJob] = Field(description="The newest first.")
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
        deliveries=[DeliveryView(**entry) for entry in job.deliveries],
        links=links,
        result_omitted=job.result_omitted,
        result_lost=job.result_lost,
    )


def render(
    job: Job,
    links: Links,
    *,
    more: Mapping[str, bytes] | None = None,
    admin: bool = False,
    without: Mapping[str, Any] = NOT_LEFT_OUT,
) -> list[bytes]:
    """Write a record as JSON, in pieces: a result, and `more` fields, go as they are stored, without being decoded.

    A result is the second piece, if there is one.
    """
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
