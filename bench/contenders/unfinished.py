"""How many jobs of an engine have no acknowledged end yet, read from its own keys with one or two cheap commands."""

from collections.abc import Callable
from typing import Any

from bench.contenders.contender import Contender
from tandem.shared.store.keys import Key
from tandem.shared.tasks.spec import Queue

Server = Any  # a redis.Redis, whose types say that each answer may have to be awaited
CELERY_RESULT = "celery-task-meta-*"


def unfinished(server: Server, contender: Contender, jobs: int) -> int:
    """Count what is not finished of `jobs` handed over: result stored and taken off its queue."""
    return COUNTS[contender.module](server, contender, jobs)


def _ours(server: Server, contender: Contender, _: int) -> int:
    queue = Queue.SYNC if contender.kind == "sync" else Queue.LLM
    return sum(map(int, server.hvals(Key.COUNTS + queue)))


def _arq(server: Server, _: Contender, __: int) -> int:
    return int(server.zcard("arq:queue"))


def _saq(server: Server, _: Contender, __: int) -> int:
    return int(server.zcard("saq:default:incomplete"))


def _taskiq(server: Server, _: Contender, __: int) -> int:
    group = server.xinfo_groups("taskiq")[0]
    return int(group["pending"]) + int(group["lag"] or 0)


def _streaq(server: Server, _: Contender, __: int) -> int:
    return int(server.xlen("streaq:default:queues:normal"))


def _celery(server: Server, _: Contender, jobs: int) -> int:
    """Celery acknowledges before it runs a job: what tells its end is the stored result."""
    others = 8  # keys of the broker, more or less
    if server.dbsize() < jobs:
        return max(1, jobs - int(server.dbsize()) + others)
    return jobs - sum(1 for _ in server.scan_iter(CELERY_RESULT, count=20_000))


def _rq(server: Server, _: Contender, __: int) -> int:
    waiting = server.llen("rq:queue:default") + server.llen("rq:queue:default:intermediate")
    return int(waiting + server.zcard("rq:wip:default"))


COUNTS: dict[str, Callable[[Server, Contender, int], int]] = {
    "ours": _ours,
    "arq_stock": _arq,
    "saq_app": _saq,
    "taskiq_app": _taskiq,
    "streaq_app": _streaq,
    "celery_app": _celery,
    "rq_stock": _rq,
}
