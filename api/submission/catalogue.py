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

    name: str
    queue: str
    summary: str
    method: str = "POST"
    path: str
    admin: bool
    timeout: float = Field(description="Seconds one attempt may take.")
    max_attempts: int
    example: dict[str, Any]
    input: dict[str, Any] = Field(description="JSON Schema.")
    output: dict[str, Any] = Field(description="JSON Schema.")


class TaskList(BaseModel):
    tasks: list[TaskView]


@router.get("/tasks", summary="The task catalogue.")
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
