"""The queues as an operator sees them, and the lever that stops them."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, HTTPException, Path
from pydantic import BaseModel, Field

from tandem.api.auth.keys import require_admin
from tandem.api.dependencies import TheBook
from tandem.api.server.problems import responses
from tandem.shared.store.executor import AsyncBook
from tandem.shared.store.queues import QueueName, QueueState, WorkerState, look, pause

router = APIRouter(prefix="/v1/queues", tags=["operations"], dependencies=[Depends(require_admin)])

Name = Annotated[str, Path(max_length=100, examples=["llm"], description="`llm`, `sync` or `webhooks`.")]


class WorkerView(BaseModel):
    """A worker by its last heartbeat."""

    id: str
    host: str
    pid: int
    heartbeat_age: float = Field(description="Seconds.")
    running: list[str] = Field(description="Ids of the jobs that it runs.")


class QueueView(BaseModel):
    """A queue: what it holds and who works on it."""

    name: str
    waiting: int
    scheduled: int
    running: int
    failed: int = Field(description="Failed jobs that are kept.")
    oldest_age: float | None = Field(description="Seconds since the head of the queue was due; null if none is.")
    rate_per_minute: float = Field(description="Jobs that ended, over the last minute.")
    paused: bool
    workers: list[WorkerView]


class QueueList(BaseModel):
    queues: list[QueueView]


@router.get("", summary="All queues and their workers.", responses=responses(401, 403, 503))
async def list_queues(book: TheBook) -> QueueList:
    return QueueList(queues=[_show(state) for state in await book.run_all([look(name) for name in QueueName])])


@router.post(
    "/{queue}/pause",
    summary="Let nothing new start: running jobs end, submissions are accepted.",
    responses=responses(401, 403, 404, 422, 503),
)
async def pause_queue(queue: Name, book: TheBook) -> QueueView:
    return await _switch(book, queue, "pause")


@router.post("/{queue}/resume", summary="Let jobs start again.", responses=responses(401, 403, 404, 422, 503))
async def resume_queue(queue: Name, book: TheBook) -> QueueView:
    return await _switch(book, queue, "resume")


async def _switch(book: AsyncBook, queue: str, action: Literal["pause", "resume"]) -> QueueView:
    if queue not in set(QueueName):
        raise HTTPException(404, f"no such queue; there are {', '.join(QueueName)}")
    name = QueueName(queue)
    await book.run(pause(name, paused=action == "pause"))
    return _show(await book.run(look(name)))


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
        running=list(worker.running),
    )
