"""The catalogue of tasks."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from tandem.api.auth.keys import Caller
from tandem.api.dependencies import TheCatalog
from tandem.api.links import PREFIX, task_path
from tandem.api.server.routing import ApiRoute
from tandem.shared.tasks.spec import AnySpec

router = APIRouter(prefix=PREFIX, tags=["operations"], route_class=ApiRoute)


class TaskView(BaseModel):
    """A task of the catalogue."""

    model_config = ConfigDict(serialize_by_alias=True)

    name: str = Field(description="What jobs have as their `task`.")
    queue: str = Field(description="The pool that runs it: `llm` or `sync`.")
    summary: str = Field(description="What it does.")
    method: str = Field(default="POST", description="How to submit it,")
    path: str = Field(description="and where.")
    admin: bool = Field(description="It needs a key of role admin.")
    timeout: float = Field(description="Seconds one attempt may take.")
    max_attempts: int = Field(description="After so many that failed a job is `failed`.")
    example: dict[str, Any] = Field(description="An input that works.")
    input: dict[str, Any] = Field(description="JSON Schema.")
    output: dict[str, Any] = Field(description="JSON Schema.")


class TaskList(BaseModel):
    tasks: list[TaskView] = Field(description="All of this gateway.")


@router.get("/tasks", summary="The task catalogue.", response_description="All tasks with their JSON Schemas.")
async def list_tasks(_: Caller, catalog: TheCatalog) -> TaskList:
    return TaskList(tasks=[_describe(spec) for spec in catalog])


def _describe(spec: AnySpec) -> TaskView:
    return TaskView(
        name=spec.name,
        queue=spec.queue,
        summary=spec.summary,
        path=task_path(spec),
        admin=spec.admin,
        timeout=spec.timeout.total_seconds(),
        max_attempts=spec.retry.max_attempts,
        example=spec.example,
        input=spec.input.model_json_schema(),
        output=spec.output.model_json_schema(mode="serialization"),
    )
