"""What all requests of a process share, as typed dependencies."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Depends, Request
from obstore.store import ObjectStore

from tandem.api.jobs.subscriptions import Watching
from tandem.api.submission.webhook_target import WebhookTargets
from tandem.shared.config.settings import Settings
from tandem.shared.dispatch import Dispatcher
from tandem.shared.store.executor import AsyncBook
from tandem.shared.tasks.registry import Catalog


def _shared(name: str) -> Callable[[Request], Awaitable[Any]]:
    """Read what the application's start has put into its state."""

    async def read(request: Request) -> Any:  # asynchronous: FastAPI runs plain functions in threads
        return getattr(request.app.state, name)

    return read


async def _request_id(request: Request) -> str:
    return str(request.state.request_id)


TheBook = Annotated[AsyncBook, Depends(_shared("book"))]
TheDispatcher = Annotated[Dispatcher, Depends(_shared("dispatcher"))]
TheWatching = Annotated[Watching, Depends(_shared("watching"))]
TheFiles = Annotated[ObjectStore, Depends(_shared("files"))]
TheSettings = Annotated[Settings, Depends(_shared("settings"))]
TheWebhookTargets = Annotated[WebhookTargets, Depends(_shared("webhook_targets"))]
TheCatalog = Annotated[Catalog, Depends(_shared("catalog"))]
RequestId = Annotated[str, Depends(_request_id)]
