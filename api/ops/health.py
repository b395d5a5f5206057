"""Whether the process lives and can take jobs."""

import asyncio

from fastapi import APIRouter
from pydantic import BaseModel, Field

from tandem.api.dependencies import TheBook
from tandem.api.server.routing import ApiRoute
from tandem.shared.errors import StoreUnavailable
from tandem.shared.store.scripts import Call

router = APIRouter(tags=["operations"], route_class=ApiRoute)

PING: Call[bool] = Call("PING", [], bool, command=True)
READY_WITHIN = 2.0  # seconds: who asks sends traffic elsewhere if there is no answer


class Health(BaseModel):
    status: str = Field(default="ok", description="Always `ok`: else the answer is an error.")


@router.get("/healthz", summary="The process lives.", response_description="It does.")
async def healthz() -> Health:
    return Health()


@router.get(
    "/readyz",
    summary="Redis answers, within 2 s.",
    response_description="It does: the gateway can take jobs.",
)
async def readyz(book: TheBook) -> Health:
    try:
        async with asyncio.timeout(READY_WITHIN):
            await book.run(PING)
    except TimeoutError as error:
        raise StoreUnavailable(f"no answer within {READY_WITHIN:g} s") from error
    return Health()
