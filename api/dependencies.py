"""What all requests of a process share, as typed dependencies. A room's own things are declared there."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Depends, Request
from obstore.store import ObjectStore

from tandem.api.server.errors import raises
from tandem.shared.config.settings import Settings
from tandem.shared.errors import StoreUnavailable
from tandem.shared.store.executor import AsyncBook
from tandem.shared.tasks.registry import Catalog


def from_state(name: str, *errors: type[Exception]) -> Callable[[Request], Awaitable[Any]]:
    """Read what the application's start has put into its state; using it may raise `errors`."""

    @raises(*errors)
    async def read(request: Request) -> Any:  # asynchronous: FastAPI runs plain functions in threads
        return getattr(request.app.state, name)

    return read


TheBook = Annotated[AsyncBook, Depends(from_state("book", StoreUnavailable))]
TheArtifacts = Annotated[ObjectStore, Depends(from_state("files"))]
TheSettings = Annotated[Settings, Depends(from_state("settings"))]
TheCatalog = Annotated[Catalog, Depends(from_state("catalog"))]
