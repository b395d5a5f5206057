"""The queues as an operator sees them, and the lever that stops them."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, Field

from tandem.api.auth.keys import require_admin
from tandem.api.dependencies import TheBook
from tandem.api.links import PREFIX
from tandem.api.server.errors import NotFound, raises
from tandem.api.server.routing import ApiRoute
from tandem.shared.store.queues import QueueName, QueueState, WorkerState, look, pause

router = APIRouter(
    prefix=f"{PREFIX}/queues", tags=["operations"], dependencies=[Depends(require_admin)], route_class=ApiRoute
)


class WorkerView(BaseModel):
    """A worker by its last heartbeat."""

    id: str = Field(description="Its name, as its log says it when it is ready.")
    host: str = Field(description="The machine that it runs on,")
    pid: int = Field(description="and its process there.")
    heartbeat_age: float = Field(description="Seconds.")
    running: list[str] = Field(description="Ids of the jobs that it runs.")


class QueueView(BaseModel):
    """A queue: what it holds and who works on it."""

    name: str = Field(description="`llm`, `sync` or `webhooks`.")
    waiting: int = Field(description="Jobs that could start.")
    scheduled: int = Field(description="Jobs whose start lies ahead.")
    running: int = Field(description="Jobs that run.")
    failed: int = Field(description="Failed jobs that are kept.")
    oldest_age: float | None = Field(description="Seconds since the head of the queue was due; null if none is.")
    rate_per_minute: float = Field(description="Jobs that ended, over the last minute.")
    paused: bool = Field(description="Nothing new starts.")
    workers: list[WorkerView] = Field(description="By their heartbeats: one that was killed is listed for 15 s more.")


class QueueList(BaseModel):
    queues: list[QueueView] = Field(description="All of them.")


Name = Annotated[str, Path(max_length=100, examples=["llm"], description="`llm`, `sync` or `webhooks`.")]


@raises(NotFound)
async def _named(queue: Name) -> QueueName:
    if queue not in set(QueueName):
        raise NotFound(f"no such queue; there are {', '.join(QueueName)}")
    return QueueName(queue)


TheQueue = Annotated[QueueName, Depends(_named)]


@router.get("", summary="All queues and their workers.", response_description="What waits, and who works.")
async def list_queues(book: TheBook) -> QueueList:
    return QueueList(queues=[_show(state) for state in await book.run_all([look(name) for name in QueueName])])


@router.post(
    "/{queue}/pause",
    summary="Let nothing new start: running jobs end, submissions are accepted.",
    response_description="The queue, paused.",
)
async def pause_queue(queue: TheQueue, book: TheBook) -> QueueView:
    await book.run(pause(queue, paused=True))
    return _show(await book.run(look(queue)))


@router.post("/{queue}/resume", summary="Let jobs start again.", response_description="The queue, which goes on.")
async def resume_queue(queue: TheQueue, book: TheBook) -> QueueView:
    await book.run(pause(queue, paused=False))
    return _show(await book.run(look(queue)))


def _show(state: QueueState) -> QueueView:
    return QueueView(
        name=state.name,
        waiting=state.waiting,
        scheduled=state.scheduled,
        running=state.running,
        failed=state.failed,
        oldest_age=state.oldest_age.total_seconds() if state.oldest_age is not None else None,
        rate_per_minute=state.rate_per_minute,
        paused=state.paused,
        workers=[_worker(worker) for worker in state.workers],
    )


def _worker(worker: WorkerState) -> WorkerView:
    return WorkerView(
        id=worker.id,
        host=worker.host,
        pid=worker.pid,
        heartbeat_age=worker.heartbeat_age.total_seconds(),
        running=worker.running,
    )
