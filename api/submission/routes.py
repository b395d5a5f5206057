"""One typed endpoint a task, derived from its spec."""

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import Body, Header, Query, Request, Response
from fastapi.openapi.models import Example
from starlette.routing import BaseRoute
from starlette.types import Receive, Scope, Send

from tandem.api.auth.keys import Caller, authenticate, bearer, require_admin
from tandem.api.dependencies import TheBook
from tandem.api.jobs.access import find
from tandem.api.jobs.outgoing import TheOutgoing
from tandem.api.jobs.parameters import JobId, Wait, preferred_wait
from tandem.api.jobs.subscriptions import TheSubscriptions
from tandem.api.links import job_url, task_path
from tandem.api.server.errors import BodyTooLarge, Forbidden, NotFound, UnsupportedMediaType, raises
from tandem.api.server.quota_headers import HEADERS, rate_headers
from tandem.api.server.routing import ApiRoute
from tandem.api.submission.idempotency import REPLAYED, replay_headers
from tandem.api.submission.options import SubmitOptions
from tandem.api.submission.parser import Asked, Parser, SubmitHeaders
from tandem.shared.errors import JobGone, KeyReused, RateExceeded, StoreUnavailable
from tandem.shared.jobs.view import JobView
from tandem.shared.tasks.registry import Catalog
from tandem.shared.tasks.spec import AnySpec

LOCATION = {"Location": {"schema": {"type": "string"}, "description": "The job."}}


def routes(catalog: Catalog) -> Iterator[BaseRoute]:
    """Build the routes of all tasks."""
    for spec in catalog:
        view = JobView[spec.output]  # type: ignore[name-defined]  # a model made at run time
        view.__name__ = f"{spec.name.capitalize()}Job"
        yield SubmitRoute(spec, view)
        yield ApiRoute(
            f"{task_path(spec)}/{{job_id}}",
            _reader(spec),
            response_model=view,
            tags=[spec.queue.value],
            summary=f"A {spec.name} job with its typed result.",
            response_description="The job as it is now, or at the end of `wait`.",
            operation_id=f"get_{spec.name}",
        )


class SubmitRoute(ApiRoute):
    """Where a task's submissions arrive.

    FastAPI documents it, from the signature of its endpoint, and does not serve it: to solve its dependencies anew for
    each request, with two exit stacks open, costs more than all of our work on a submission. What is raised goes to the
    application's handlers, as everywhere.
    """

    def __init__(self, spec: AnySpec, view: type[JobView[Any]]) -> None:
        accept = _acceptor(spec)
        super().__init__(
            task_path(spec),
            accept,
            methods=["POST"],
            status_code=202,
            response_model=view,
            tags=[spec.queue.value],
            summary=spec.summary,
            response_description="The job is stored; it waits or runs. Its id leads to it.",
            operation_id=f"submit_{spec.name}",
            responses={
                200: {
                    "model": view,
                    "description": "The finished job (`Prefer: wait`), or the job of a repeated `Idempotency-Key`.",
                    "headers": {**LOCATION, **REPLAYED, **HEADERS},
                },
                202: {"headers": {**LOCATION, **HEADERS}},
            },
        )
        self._admin = spec.admin
        self._parser = Parser(spec.input)
        self._accept = accept
        self.app = self._serve

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        caller = await authenticate(request, await bearer(request))
        if self._admin:
            await require_admin(caller)
        body = await request.body()  # before the turn: a slow caller must hold up nobody
        async with request.app.state.book.turns.turn():
            response: Response = await self._accept(request, caller, *self._parser.parse(request, body))
        await response(scope, receive, send)


def _acceptor(spec: AnySpec) -> Any:
    @raises(Forbidden, NotFound, BodyTooLarge, UnsupportedMediaType, KeyReused, JobGone, RateExceeded, StoreUnavailable)
    async def accept(
        request: Request,
        caller: Caller,
        options: Annotated[SubmitOptions, Query()],
        headers: Annotated[SubmitHeaders, Header()],
        payload: Any,
    ) -> Response:
        state, asked = request.app.state, Asked(options, headers, payload)
        job, receipt = await state.submitter.submit(spec, asked, caller=caller, request_id=request.state.request_id)
        sent = {"Location": job_url(job.id), **rate_headers(receipt.quota), **replay_headers(receipt)}
        if wait := preferred_wait(headers.prefer):
            sent["Preference-Applied"] = f"wait={wait}"
            job = await state.subscriptions.wait(job, wait)
        status = 200 if job.finished or receipt.replayed else 202
        # What was submitted is submitted: who finds no room for a large result finds it on the job's page later.
        answer: Response = state.outgoing.answer(job, status, sent, caller=caller, may_omit=True)
        return answer

    example = Example(summary=spec.summary, value=spec.example)
    accept.__annotations__["payload"] = Annotated[spec.input, Body(openapi_examples={"example": example})]
    return accept


def _reader(spec: AnySpec) -> Any:
    @raises(NotFound)
    async def read(
        job_id: JobId,
        caller: Caller,
        book: TheBook,
        subscriptions: TheSubscriptions,
        outgoing: TheOutgoing,
        wait: Wait = 0,
    ) -> Response:
        job = await find(job_id, caller, book)
        if job.task != spec.name:
            raise NotFound(f"no {spec.name} job with this id")
        if wait and not job.finished:
            job = await subscriptions.wait(job, wait)
        return outgoing.answer(job, caller=caller)

    return read
