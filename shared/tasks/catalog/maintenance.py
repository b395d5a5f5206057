"""Maintenance: what only an operator may start."""

from datetime import timedelta
from typing import Literal

from pydantic import BaseModel, Field

from tandem.shared.tasks.spec import Input, Output, Queue, RetryPolicy, TaskSpec
from tandem.shared.types.duration import Duration

Kind = Literal["files", "records", "orphans"]


class CleanupInput(Input):
    older_than: Duration = Field(description="`30m`, `12h`, `7d` or ISO 8601 such as `P7D`.")
    what: list[Kind] = Field(
        default=["files", "records", "orphans"],
        min_length=1,
        description="Artefacts of finished jobs, their records, and what has no record.",
    )
    dry_run: bool = Field(default=False, description="Count, and remove nothing.")


class Removed(BaseModel):
    count: int = Field(default=0, description="How many.")
    bytes: int = Field(default=0, description="Their size.")


class CleanupOutput(Output):
    dry_run: bool = Field(description="Nothing was removed.")
    files: Removed | None = Field(default=None, description="Artefacts of finished jobs.")
    records: Removed | None = Field(default=None, description="Records of finished jobs.")
    orphans: Removed | None = Field(default=None, description="Artefacts and index entries without a record.")


CLEANUP = TaskSpec(
    name="cleanup",
    queue=Queue.SYNC,
    summary="Remove old artefacts, finished records and orphans.",
    input=CleanupInput,
    output=CleanupOutput,
    example={"older_than": "7d", "what": ["files", "records", "orphans"], "dry_run": True},
    timeout=timedelta(minutes=30),
    retry=RetryPolicy(max_attempts=3),
    admin=True,
)


class MigrateInput(Input):
    revision: str = Field(
        default="head",
        min_length=1,
        max_length=100,
        pattern=r"^[A-Za-z0-9_+@.-]+$",
        description="As Alembic names it: `head`, `base`, an id, `+1` or `-1`. The way there may be a downgrade.",
    )


class MigrateOutput(Output):
    from_: str | None = Field(alias="from", description="Revision before; null on an empty database.")
    to: str | None = Field(description="Revision now; null on an empty database.")
    applied: list[str] = Field(description="Revisions run, in order.")


MIGRATE = TaskSpec(
    name="migrate",
    queue=Queue.SYNC,
    summary="Bring the application's database to a revision with Alembic, one at a time.",
    input=MigrateInput,
    output=MigrateOutput,
    example={"revision": "head"},
    timeout=timedelta(minutes=30),
    retry=RetryPolicy(max_attempts=3),
    admin=True,
)
