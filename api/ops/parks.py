"""Parks as an operator sees them: what takes no requests for now, and the lever that ends it."""

import logging
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Response
from pydantic import BaseModel, Field

from tandem.api.auth.keys import Caller, require_admin
from tandem.api.dependencies import TheBook
from tandem.api.links import PREFIX
from tandem.api.server.errors import NotFound, raises
from tandem.api.server.routing import ApiRoute
from tandem.shared.limits.numbers import US
from tandem.shared.store.limits.operations import lift, list_parks

log = logging.getLogger("tandem.api")

router = APIRouter(
    prefix=f"{PREFIX}/parks", tags=["operations"], dependencies=[Depends(require_admin)], route_class=ApiRoute
)


class ParkView(BaseModel):
    """A provider's model that takes no requests for now."""

    name: str = Field(description="`provider:model`.")
    kind: Literal["busy", "down"] = Field(description="It said so (429), or nobody answers there.")
    left_seconds: float = Field(description="Until it is tried again; 0 once it may be, until it has answered.")


class ParkList(BaseModel):
    parks: list[ParkView] = Field(description="Those that are free again soonest first.")


Name = Annotated[
    str, Path(min_length=1, max_length=1000, examples=["openai:gpt-5.4-mini"], description="`provider:model`.")
]


@router.get(
    "",
    summary="Models that take no requests for now, those that are free again soonest first.",
    response_description="What is parked.",
)
async def get_parks(book: TheBook) -> ParkList:
    parks = await book.run(list_parks())
    return ParkList(
        parks=[ParkView(name=park.name, kind=park.kind, left_seconds=park.left * US.total_seconds()) for park in parks]
    )


@router.delete(
    "/{name:path}",
    summary="End a park: its jobs start at once.",
    status_code=204,
    response_description="It takes requests again.",
)
@raises(NotFound)
async def delete_park(name: Name, caller: Caller, book: TheBook) -> Response:
    if not await book.run(lift(name)):
        raise NotFound("nothing of this name is parked")
    log.info("the park of %s was lifted by %s", name, caller.name)
    return Response(status_code=204)
