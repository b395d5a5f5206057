"""RQ's jobs, queues and workers as the pages show them.

RQ's own classes unpickle what is in Redis unless told otherwise, stumble over one bad hash in a list, and tidy
up while they read. What the job book knows about a job is shown from there, and the rest from RQ's hash.
"""

import json
from contextlib import suppress
from typing import Any

from redis.exceptions import ResponseError
from rq import Queue, Worker
from rq.exceptions import NoSuchJobError
from rq.job import Job
from rq.registry import StartedJobRegistry
from rq.results import Result
from rq.serializers import JSONSerializer
from rq.worker.base import WorkerStatus

from tandem.shared.errors import UnreadableRecord
from tandem.shared.jobs.model import Job as Record
from tandem.shared.jobs.model import Status
from tandem.shared.store import commands
from tandem.shared.store.executor import Book
from tandem.shared.store.keys import Key

LONGEST = 20_000  # characters of a result or an error on a page
TOO_LARGE = "too large to be shown here: GET /v1/jobs/{id} has it"
DEFAULT_QUEUE = "sync"


class ShownJob(Job):
    """A job of RQ's; only JSON is read. Raises NoSuchJobError when there is no hash."""

    record: Record | None = None

    def __init__(self, id: str | None = None, connection: Any = None, serializer: Any = None) -> None:
        del serializer  # rq-dashboard leaves it out in places, and RQ's default is pickle
        super().__init__(id, connection, JSONSerializer)

    @classmethod
    def fetch(cls, id: str, connection: Any = None, serializer: Any = None) -> Job:
        try:
            return super().fetch(id, connection, serializer)
        except ValueError:  # letters, digits, _ and - are an id
            raise NoSuchJobError(id) from None

    def refresh(self) -> None:
        fields = self.connection.hgetall(self.key)
        if not fields:
            raise NoSuchJobError(self.id)
        try:
            self.restore(fields)
        except Exception as error:  # noqa: BLE001 - whatever is in the hash, the others in the list are shown
            self.description = f"(its hash can't be read: {type(error).__name__})"
        with suppress(UnreadableRecord, ResponseError):  # as with the hash; without the result if it is only that
            book = Book(self.connection)
            self.record = book.run(commands.look_up(self.id))
            if self.record and self.record.result_omitted:
                self.record = book.run(commands.look_up_result(self.record))
        if self.record:
            self.created_at = self.record.created_at
            self.started_at, self.ended_at = self.record.started_at, self.record.finished_at

    def get_status(self, refresh: bool = True) -> Any:  # noqa: ARG002, FBT001, FBT002 - RQ's signature
        return self._status

    def get_meta(self, refresh: bool = True) -> dict[str, Any]:  # noqa: ARG002, FBT001, FBT002 - RQ's signature
        """Give RQ's own metadata and what the job book adds."""
        own = self.meta if isinstance(self.meta, dict) else {"meta": self.meta}
        own = {name: _readable(value) for name, value in own.items()}
        return {**own, **(_facts(self.record) if self.record else {})}

    def latest_result(self, timeout: int = 0) -> Result | None:  # noqa: ARG002 - RQ's signature
        if self.record:
            return self._result_of(self.record)
        with suppress(Exception):  # whatever is in the stream; the rest of the job is shown
            found = super().latest_result()
            if found and found.exc_string:
                found.exc_string = cut(found.exc_string)
            return found
        return None

    def _result_of(self, record: Record) -> Result | None:
        if record.status is Status.SUCCEEDED:
            kind, text = Result.Type.SUCCESSFUL, None
            value = TOO_LARGE if record.result_omitted else record.result
        elif record.status is Status.FAILED:
            kind, value, text = Result.Type.FAILED, None, cut(_failure(record))
        else:
            return None
        return Result(self.id, kind, self.connection, id="0-1", return_value=value, exc_string=text)

    def return_value(self, refresh: bool = False) -> Any:  # noqa: ARG002, FBT001, FBT002 - RQ's signature
        """Give the result; a long one as the beginning of its JSON."""
        found = self.latest_result()
        if found is None or found.type is not Result.Type.SUCCESSFUL:
            return None
        text = json.dumps(found.return_value, ensure_ascii=False)
        return found.return_value if len(text) <= LONGEST else cut(text)

    @property
    def dependency_ids(self) -> Any:
        """RQ 3 gives text, and rq-dashboard 0.9 decodes bytes."""
        return [job_id.encode() for job_id in super().dependency_ids]

    def get_call_string(self) -> str | None:
        try:
            return super().get_call_string()
        except Exception:  # noqa: BLE001 - the call is pickled, or is no call
            return self.description


class ShownQueue(Queue):
    """A queue of RQ's whose jobs are ShownJobs; without a name, the queue that this platform uses most.

    The job book's own index says which jobs wait there. Behind them stands what RQ's list has beside: jobs of plain RQ
    that nobody has taken in yet.
    """

    def __init__(self, name: str = DEFAULT_QUEUE, connection: Any = None, **_options: Any) -> None:
        super().__init__(name, connection=connection, job_class=ShownJob, serializer=JSONSerializer)

    @property
    def count(self) -> int:
        return self._waiting + super().count

    @property
    def _waiting(self) -> int:
        waiting: Any = self.connection.zcard(Key.WAITING_IN + self.name)
        return int(waiting)

    def get_job_ids(self, offset: int = 0, length: int = -1) -> list[str]:
        if length == 0:
            return []
        last = offset + length - 1 if length > 0 else -1
        ids: Any = self.connection.zrange(Key.WAITING_IN + self.name, offset, last)
        left = length - len(ids) if length > 0 else -1
        own = [job_id.decode(errors="replace") for job_id in ids]
        return [*own, *super().get_job_ids(max(0, offset - self._waiting), left)]

    def fetch_job(self, job_id: str) -> Job | None:
        try:
            return ShownJob.fetch(job_id, connection=self.connection)
        except NoSuchJobError:
            return None


class ShownWorker(Worker):
    """A worker of RQ's and the job that it runs, by the job book."""

    current: Job | None = None

    @classmethod
    def all(cls, connection: Any = None, *_classes: Any, **_options: Any) -> Any:
        workers: list[ShownWorker] = super().all(  # type: ignore[assignment]  # RQ says BaseWorker
            connection, job_class=ShownJob, queue_class=ShownQueue, serializer=JSONSerializer
        )
        jobs = running(connection) if workers else {}
        for worker in workers:
            worker.current = jobs.get(worker.name)
        return workers

    def get_current_job(self) -> Job | None:
        return self.current

    def get_state(self) -> str:
        """Say whether it runs a job by the job book; the worker itself says that only now and then."""
        state = super().get_state()
        if self.current:
            return WorkerStatus.BUSY.value
        return WorkerStatus.IDLE.value if state == WorkerStatus.BUSY else state

    def _set_connection(self, connection: Any) -> Any:
        """Leave the pool's time-outs as they are."""
        return connection


def running(connection: Any) -> dict[str, Job]:
    """Give the running jobs by the names of their workers."""
    found: dict[str, Job] = {}
    for queue in ShownQueue.all(connection=connection):
        started = StartedJobRegistry(queue.name, connection=connection, serializer=JSONSerializer)
        for job_id in started.get_job_ids(cleanup=False):
            job = queue.fetch_job(job_id)
            name = connection.hget(Key.JOB + job_id, "worker")
            if job and (worker := name.decode(errors="replace") if name else job.worker_name):
                found[worker] = job
    return found


def cut(text: str) -> str:
    """Shorten what would make a page unusable."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text):,} characters)"


def _failure(record: Record) -> str:
    """Say what ended a job, then what ended each of its attempts."""
    error = record.error or {}
    lines = [f"{error.get('type')}: {error.get('message')}"]
    for entry in record.attempts:
        lines.append(f"\nattempt {entry['attempt']} of {record.max_attempts}, {entry['at']}")
        lines.append(f"{entry['type']}: {entry['message']}")
    return "\n".join(lines)


def _facts(record: Record) -> dict[str, Any]:
    return {
        "task": record.task,
        "owner": record.owner,
        "priority": record.priority,
        "attempt": f"{record.attempt} of {record.max_attempts}",
    }


def _readable(value: Any) -> Any:
    """RQ keeps bytes that it could not read; JSON has none."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value
