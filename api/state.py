"""What all requests of a process share, as typed dependencies."""

from typing import Annotated

from fastapi import Depends, Request
from obstore.store import ObjectStore

from api.waiting import Finishes
from shared.book import AsyncBook
from shared.catalog import Catalog
from shared.dispatch import Dispatcher


async def _book(request: Request) -> AsyncBook:
    book: AsyncBook = request.app.state.book
    return book


async def _dispatcher(request: Request) -> Dispatcher:
    dispatcher: Dispatcher = request.app.state.dispatcher
    return dispatcher


async def _finishes(request: Request) -> Finishes:
    finishes: Finishes = request.app.state.finishes
    return finishes


async def _files(request: Request) -> ObjectStore:
    files: ObjectStore = request.app.state.files
    return files


async def _catalog(request: Request) -> Catalog:
    catalog: Catalog = request.app.state.catalog
    return catalog


async def _request_id(request: Request) -> str:
    request_id: str = request.state.request_id
    return request_id


TheBook = Annotated[AsyncBook, Depends(_book)]
TheDispatcher = Annotated[Dispatcher, Depends(_dispatcher)]
TheFinishes = Annotated[Finishes, Depends(_finishes)]
TheFiles = Annotated[ObjectStore, Depends(_files)]
TheCatalog = Annotated[Catalog, Depends(_catalog)]
RequestId = Annotated[str, Depends(_request_id)]
