"""What somebody with access to Redis, or a job that fails in its own words, may put in front of an admin."""

import json
import zlib
from typing import Any

from rq import Queue
from rq.job import Job
from rq.registry import FailedJobRegistry, FinishedJobRegistry, StartedJobRegistry
from rq.results import Result
from rq.serializers import JSONSerializer

from tandem.shared.store.executor import Book
from tests.support.dashboard.running import claim, fail, put, succeed


class Unpickled:
    """Pickled, it is a call: whoever unpickles it leaves a file behind."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return open, (self.path, "w")


def native(book: Book, evil: str, *, queue: str = "sync", job_id: str = "native-1") -> Job:
    """A job of plain RQ with `evil` wherever RQ takes a text."""
    job = Job.create(
        f"module.{evil}",
        args=[evil, {evil: [evil]}],
        kwargs={evil: evil},
        id=job_id,
        origin=queue,
        description=evil,
        meta={evil: [evil]},
        connection=book.client,
        serializer=JSONSerializer,
    )
    job.save()
    return job


def fill(book: Book, evil: str) -> list[str]:
    """Fill a job book and RQ's keys with `evil`; gives the ids of the jobs that show it."""
    connection: Any = book.client
    put(book)
    fail(book, evil)
    own = put(book)
    succeed(book)
    connection.hset(f"tandem:job:{own}", "result", json.dumps({evil: [evil, {"a": evil}]}))
    queue = Queue(evil, connection=connection, serializer=JSONSerializer)
    connection.sadd("rq:queues", queue.key)
    ids = [own]
    for name in ("sync", evil):
        ids += _in_every_list(book, evil, queue=name, prefix=f"native-{len(ids)}")
    running = put(book)
    claim(book)
    ids.append(running)
    connection.hset(f"tandem:job:{running}", "worker", evil)
    call = json.dumps([evil, None, [evil], {evil: evil}]).encode()
    connection.hset(f"rq:job:{running}", mapping={"data": zlib.compress(call), "description": evil})
    key, worker = f"rq:worker:{evil}", {"state": "busy", "pid": "1", "queues": f"sync,{evil}", "version": evil}
    connection.hset(key, mapping={**worker, "python_version": evil})
    connection.sadd("rq:workers", key)
    return ids


def _in_every_list(book: Book, evil: str, *, queue: str, prefix: str) -> list[str]:
    connection: Any = book.client
    waiting, done, failed = (native(book, evil, queue=queue, job_id=f"{prefix}-{name}") for name in "abc")
    connection.rpush(f"rq:queue:{queue}", waiting.id)
    connection.sadd(waiting.dependencies_key, evil, f"rq:job:{done.id}")
    Result.create(done, Result.Type.SUCCESSFUL, 600, return_value={evil: evil})
    Result.create_failure(failed, 600, f"Traceback\n{evil}")
    for job, status, registry in ((done, "finished", FinishedJobRegistry), (failed, "failed", FailedJobRegistry)):
        connection.hset(job.key, "status", status)
        registry(queue, connection=connection).add(job, 600)
    started = StartedJobRegistry(queue, connection=connection)
    connection.zadd(started.key, {f"{waiting.id}:1": "+inf"})
    return [waiting.id, done.id, failed.id]
