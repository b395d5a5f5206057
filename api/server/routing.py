"""Routes whose OpenAPI entries list the errors that they and their dependencies declare (`raises`)."""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from fastapi import Request, params
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel

from tandem.api.server.error_responses import describe
from tandem.api.server.errors import Invalid, declared

SHOWN = 100  # characters of a name that there is not


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


def refuse_unknown(request: Request) -> None:
    """Refuse a query parameter that the route does not know, or one given twice: neither must pass as understood.

    Raises:
        RequestValidationError: names it.

    """
    given = [name for name, _ in request.query_params.multi_items()]
    known = _query_names(request.scope["route"])
    for name in given:
        if name not in known:
            raise Invalid("query", name[:SHOWN], no_such_parameter(known))
        if given.count(name) > 1:
            raise Invalid("query", name, "given more than once")


def no_such_parameter(known: Collection[str]) -> str:
    """Say what there is instead."""
    return f"no such parameter; there are {', '.join(sorted(known)) or 'none'}"


def _query_names(route: APIRoute) -> frozenset[str]:
    names, waiting = set[str](), [route.dependant]
    while waiting:
        found = waiting.pop()
        waiting += found.dependencies
        for param in found.query_params:
            kind = param.field_info.annotation
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                names |= set(kind.model_fields)
            else:
                names.add(param.alias)
    return frozenset(names)
