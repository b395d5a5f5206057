"""Routes whose OpenAPI entries list the errors that they and their dependencies declare (`raises`)."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from fastapi import params
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_dependant
from fastapi.routing import APIRoute

from tandem.api.server.error_responses import describe
from tandem.api.server.errors import Invalid, declared


class ApiRoute(APIRoute):
    """A route that documents its errors: what `raises` says, and a 422 where there is something to get wrong."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        statuses = sorted(set(_statuses(path, endpoint, options.get("dependencies") or ())))
        options["responses"] = {**{code: describe(code) for code in statuses}, **(options.get("responses") or {})}
        super().__init__(path, endpoint, **options)


def _statuses(path: str, endpoint: Callable[..., Any], dependencies: Sequence[params.Depends]) -> Iterator[int]:
    calls = [endpoint, *(depends.dependency for depends in dependencies if depends.dependency)]
    waiting = [get_dependant(path=path, call=call) for call in calls]
    while waiting:
        found = waiting.pop()
        waiting += found.dependencies
        for error in declared(found.call) if found.call else ():
            yield int(error.http_status)  # type: ignore[attr-defined]  # `raises` asks for it
        if _takes_parameters(found):
            yield int(Invalid.http_status)


def _takes_parameters(found: Dependant) -> bool:
    return any((found.path_params, found.query_params, found.header_params, found.cookie_params, found.body_params))
