"""The dashboard's one change: finished jobs wait again, by the job book's retry."""

from datetime import timedelta
from typing import Any

from redis.exceptions import RedisError
from starlette.responses import JSONResponse, Response

from tandem.shared.errors import StoreUnavailable
from tandem.shared.jobs.model import Status
from tandem.shared.store import commands, queues
from tandem.shared.store.executor import AsyncBook

AT_ONCE = 1_000  # of a queue's failed jobs
RETRIED = frozenset({Status.FAILED, Status.CANCELLED, Status.EXPIRED})


class Requeue:
    """Puts failed, cancelled and expired jobs back; answers as rq-dashboard's scripts expect it."""

    def __init__(self, book: AsyncBook, *, max_age: timedelta) -> None:
        self._book = book
        self._max_age = max_age or None

    async def one(self, job_id: str) -> Response:
        """Let one job wait again: 404 if the job book has no such job, 409 if it has not ended or succeeded."""
        try:
            status = await self._book.run(commands.retry(job_id, max_age=self._max_age))
        except StoreUnavailable as error:
            return _away(error)
        if status is None:
            return _said(f"The job book has no job {job_id}.", 404)
        if status not in RETRIED:
            return _said(f"The job is {status}; only failed, cancelled and expired ones are requeued.", 409)
        return _said(f"Requeued {job_id}.", 200)

    async def failed(self, queue: str) -> Response:
        """Let a queue's failed jobs wait again, the oldest first."""
        count = 0
        try:
            ids = await self._book.run(queues.failed_in_rq(queue, limit=AT_ONCE))
            for job_id in ids:
                again = commands.retry(job_id, only=Status.FAILED, max_age=self._max_age)
                count += await self._book.run(again) is Status.FAILED
        except (StoreUnavailable, RedisError) as error:
            return _away(error, count=count)
        return _said(f"Requeued {count} of {len(ids)} failed jobs.", 200, count=count)


def _away(error: Exception, **more: Any) -> Response:
    return _said(f"Redis does not answer: {error}", 503, **more)


def _said(message: str, code: int, **more: Any) -> Response:
    return JSONResponse({"status": "OK" if code == 200 else "ERROR", "message": message, **more}, code)  # noqa: PLR2004
