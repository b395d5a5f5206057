"""What a submitter may ask for in the query, as the outside writes it."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from tandem.api.server.errors import Invalid
from tandem.shared.config.api_keys import ApiKey
from tandem.shared.jobs.submission import Options
from tandem.shared.tasks.spec import AnySpec, Priority, Queue
from tandem.shared.types.duration import Duration
from tandem.shared.types.timestamp import Moment

FARTHEST = timedelta(days=366)  # a year ahead, whatever its length
SHORTEST = timedelta(milliseconds=1)


def _at_most_a_year(value: timedelta) -> timedelta:
    if value > FARTHEST:
        raise ValueError(f"must be at most {FARTHEST.days} days")
    return value


def _not_too_short(value: timedelta) -> timedelta:
    if value < SHORTEST:
        raise ValueError("must be at least 1 ms")
    return value


Seconds = Annotated[
    Duration,
    AfterValidator(_at_most_a_year),
    WithJsonSchema({"type": "string", "examples": ["90", "15m", "PT1H"]}),
]


def _not_too_far(value: datetime) -> datetime:
    if value > datetime.now(UTC) + FARTHEST:
        raise ValueError("must be within a year")
    return value


class SubmitOptions(BaseModel):
    """The query of a submit. A misspelt or unknown name must not pass as understood."""

    model_config = ConfigDict(extra="forbid")

    # Inline in OpenAPI, as the other options are.
    priority: Annotated[Priority, WithJsonSchema({"type": "string", "enum": list(Priority)})] = Field(
        default=Priority.NORMAL,
        description="Of 20 of an owner's jobs that start, `high` are 16, `normal` 3 and `low` 1, as long as all three"
        " wait. `idle` ones start when no others wait, and leave a fifth of each limit free: for what must never get in"
        " the way. An idle job may wait for ever: give it an `expires_in` if it is worth nothing later.",
    )
    run_at: Annotated[Moment, AfterValidator(_not_too_far)] | None = Field(
        default=None,
        description="Start then, not before. ISO 8601, UTC if it names no zone; the past is now, at most a year ahead.",
    )
    delay: Seconds | None = Field(
        default=None, description="Start after so many seconds (or `15m`, `12h`, `7d`, ISO 8601), at most a year."
    )
    expires_in: Annotated[Seconds, AfterValidator(_not_too_short)] | None = Field(
        default=None, description="Not started by then: `expired`. Seconds from now, or as `delay`; longer than that."
    )
    webhook_url: Annotated[str, Field(min_length=1, max_length=2000)] | None = Field(
        default=None, description="Called back when the job has ended: http(s), no private address."
    )
    stream: bool = Field(default=False, description="LLM tasks only: keep the answer's pieces as events.")


def options_of(asked: SubmitOptions, spec: AnySpec, caller: ApiKey) -> Options:
    """Make what the book takes of what was asked, with the key's own webhook where none was given.

    Raises:
        RequestValidationError: an option does not go with another one, or with this task.

    """
    for name, message in _contradictions(asked, spec):
        raise Invalid("query", name, message)
    return Options(
        priority=asked.priority,
        run_at=asked.run_at,
        delay=asked.delay,
        expires_in=asked.expires_in,
        webhook_url=asked.webhook_url or caller.webhook_url,
        stream=asked.stream,
    )


def _contradictions(asked: SubmitOptions, spec: AnySpec) -> Iterable[tuple[str, str]]:
    if asked.run_at is not None and asked.delay is not None:
        yield "delay", "give run_at or delay, not both"
    # Not of `run_at`: whether that comes in time is for Redis's clock to say.
    if asked.delay is not None and asked.expires_in is not None and asked.expires_in <= asked.delay:
        yield "expires_in", "it could only expire: expires_in counts from now, and must be longer than delay"
    if asked.stream and spec.queue is not Queue.LLM:
        yield "stream", f"{spec.name} is no LLM task and has nothing to stream"
