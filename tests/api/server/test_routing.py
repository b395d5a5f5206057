"""What a route's errors make of its OpenAPI entry."""

from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI

from tandem.api.server.errors import Conflict, Forbidden, NotFound, raises
from tandem.api.server.routing import ApiRoute
from tandem.shared.errors import StoreUnavailable


@raises(StoreUnavailable)
async def store() -> str:
    return "store"


@raises(NotFound)
async def thing(store: Annotated[str, Depends(store)]) -> str:
    return store


@raises(Forbidden)
async def guard() -> None:
    """Lets nobody in."""


router = APIRouter(route_class=ApiRoute)


@router.get("/plain")
async def plain() -> str:
    return ""


@router.get("/deep")
@raises(Conflict)
async def deep(thing: Annotated[str, Depends(thing)]) -> str:
    return thing


@router.get("/guarded", dependencies=[Depends(guard)])
async def guarded() -> str:
    return ""


@router.get("/asks", responses={404: {"description": "Said by hand."}})
async def asks(name: str, thing: Annotated[str, Depends(thing)]) -> str:
    return name + thing


@pytest.fixture(scope="module")
def paths() -> dict[str, Any]:
    app = FastAPI()
    app.include_router(router)
    found: dict[str, Any] = app.openapi()["paths"]
    return found


@pytest.mark.parametrize(
    ("path", "statuses"),
    [
        ("/plain", {"200"}),
        ("/deep", {"200", "404", "409", "503"}),
        ("/guarded", {"200", "403"}),
        ("/asks", {"200", "404", "422", "503"}),
    ],
)
def test_a_route_documents_what_it_and_its_dependencies_raise(
    paths: dict[str, Any], path: str, statuses: set[str]
) -> None:
    assert set(paths[path]["get"]["responses"]) == statuses


def test_an_error_is_documented_as_a_problem(paths: dict[str, Any]) -> None:
    entry = paths["/deep"]["get"]["responses"]["409"]
    assert entry["description"] == "Conflict"
    assert entry["content"]["application/problem+json"]["schema"]["$ref"].endswith("/Problem")
    assert paths["/asks"]["get"]["responses"]["404"]["description"] == "Said by hand."
