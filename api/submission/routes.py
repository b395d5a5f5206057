"""One typed endpoint a task, derived from its spec, and the catalogue of them."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, HTTPException, Query, Response
from fastapi.openapi.models import Example
from pydantic import BaseModel, ConfigDict, Field

from tandem.api.auth.keys import Caller, authenticate, may_see, require_admin
from tandem.api.dependencies import RequestId, TheBook, TheCatalog, TheWatching
from tandem.api.jobs.parameters import IdempotencyKey, JobId, Prefer, Wait, preferred_wait
from tandem.api.jobs.view import answer
from tandem.api.server.fast_path import LeanRoute
from tandem.api.server.problems import responses
from tandem.api.server.quota_headers import HEADERS, rate_headers
from tandem.api.server.strict_json import StrictRoute
from tandem.api.submission.options import SubmitOptions
from tandem.api.submission.submit import TheDoor
from tandem.shared.jobs.view import JobView
from tandem.shared.store import commands
from tandem.shared.tasks.registry import Catalog
from tandem.shared.tasks.spec import AnySpec

LOCATION = {"Location": {"schema": {"type": "string"}, "description": "The job."}}
REPLAYED = {"Idempotency-Replayed": {"schema": {"const": "true"}, "description": "The job was there already."}}


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


def router(catalog: Catalog) -> APIRouter:
    """Build the routes of all tasks."""
    built = APIRouter(prefix="/v1", route_class=StrictRoute)
    built.add_api_route(
        "/tasks",
        list_tasks,
        tags=["operations"],
        summary="The task catalogue.",
        dependencies=[Depends(authenticate)],
        responses=responses(401),
    )
    for spec in catalog:
        _add(built, spec)
    return built


def _add(built: APIRouter, spec: AnySpec) -> None:
    view = JobView[spec.output]  # type: ignore[name-defined]  # a model made at run time
    view.__name__ = f"{spec.name.capitalize()}Job"
    shared: dict[str, Any] = {"tags": [spec.queue.value]}
    built.add_api_route(
        f"/{spec.name}",
        _submitter(spec),
        methods=["POST"],
        route_class_override=LeanRoute,
        status_code=202,
        response_model=view,
        summary=spec.summary,
        operation_id=f"submit_{spec.name}",
        dependencies=[Depends(require_admin if spec.admin else authenticate)],
        responses={
            **responses(401, 403, 413, 422, 429, 503),
            200: {
                "model": view,
                "description": "The finished job (`Prefer: wait`), or the job of a repeated `Idempotency-Key`.",
                "headers": {**LOCATION, **REPLAYED, **HEADERS},
            },
            202: {"headers": {**LOCATION, **HEADERS}},
        },
        **shared,
    )
    built.add_api_route(
        f"/{spec.name}/{{job_id}}",
        _reader(spec),
        response_model=view,
        summary=f"A {spec.name} job with its typed result.",
        operation_id=f"get_{spec.name}",
        responses=responses(401, 404, 422, 503),
        **shared,
    )


def _submitter(spec: AnySpec) -> Any:
    async def submit(
        payload: Any,
        asked: Annotated[SubmitOptions, Query()],
        caller: Caller,
        door: TheDoor,
        watching: TheWatching,
        request_id: RequestId,
        prefer: Prefer = None,
        idempotency_key: IdempotencyKey = None,
    ) -> Response:
        job, receipt = await door.submit(
            spec, payload, asked, caller=caller, request_id=request_id, idempotency_key=idempotency_key
        )
        headers = {"Location": f"/v1/jobs/{job.id}", **rate_headers(receipt.quota)}
        if receipt.replayed:
            headers["Idempotency-Replayed"] = "true"
        if wait := preferred_wait(prefer):
            headers["Preference-Applied"] = f"wait={wait}"
            job = await watching.wait(job, wait)
        return answer(job, 200 if job.finished or receipt.replayed else 202, headers)

    example = Example(summary=spec.summary, value=spec.example)
    submit.__annotations__["payload"] = Annotated[spec.input, Body(openapi_examples={"example": example})]
    return submit


def _reader(spec: AnySpec) -> Any:
    async def read(job_id: JobId, caller: Caller, book: TheBook, watching: TheWatching, wait: Wait = 0) -> Response:
        job = await book.run(commands.fetch(job_id))
        if job is None or job.task != spec.name or not may_see(caller, job):
            raise HTTPException(404, f"no {spec.name} job with this id")
        if wait and not job.finished:
            job = await watching.wait(job, wait)
        return answer(job)

    return read


async def list_tasks(catalog: TheCatalog) -> TaskList:
    return TaskList(tasks=[_describe(spec) for spec in catalog])


def _describe(spec: AnySpec) -> TaskView:
    return TaskView(
        name=spec.name,
        queue=spec.queue,
        summary=spec.summary,
        path=f"/v1/{spec.name}",
        admin=spec.admin,
        timeout=spec.timeout.total_seconds(),
        max_attempts=spec.retry.max_attempts,
        example=spec.example,
        input=spec.input.model_json_schema(),
        output=spec.output.model_json_schema(mode="serialization"),
    )
