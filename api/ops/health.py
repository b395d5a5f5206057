"""Whether the process lives and can take jobs."""

from fastapi import APIRouter
from pydantic import BaseModel, Field

from tandem.api.dependencies import TheBook
from tandem.api.server.routing import ApiRoute
from tandem.shared.store.scripts import Call

router = APIRouter(tags=["operations"], route_class=ApiRoute)

PING: Call[bool] = Call("PING", [], bool, command=True)


class Health(BaseModel):
    status: str = Field(default="ok", description="Always `ok`: else the answer is an error.")


@router.get("/healthz", summary="The process lives.", response_description="It does.")
async def healthz() -> Health:
    return Health()


@router.get("/readyz", summary="Redis answers.", response_description="It does: the gateway can take jobs.")
async def readyz(book: TheBook) -> Health:
    await book.run(PING)
    return Health()
