"""What is arq's own in the engine: jobs that came through plain arq, its cron jobs and its health key.

Tasks of the catalogue are adopted into the job book. Other functions of the settings run as arq runs them, with its
retries and results, but their ids stay out of the way of other workers as long as they run. What no function knows
is left to its owner.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import wraps
from typing import Any

from arq.constants import in_progress_key_prefix, retry_key_prefix
from arq.utils import timestamp_ms
from arq.worker import Worker
from redis.exceptions import RedisError

from tandem.llm_worker.compat_arq import wire_format
from tandem.llm_worker.runtime import Runtime
from tandem.shared.jobs.retry import Decision, Fail
from tandem.shared.limits.lanes import Lanes
from tandem.shared.runtime.outage import Outage
from tandem.shared.runtime.redis_client import unavailable
from tandem.shared.store import commands
from tandem.shared.store.executor import AsyncBook
from tandem.shared.store.keys import ARQ_QUEUES
from tandem.shared.store.leases import Success, Unknown
from tandem.shared.store.scripts import LEASE, RAN
from tandem.shared.store.signature import ms
from tandem.shared.tasks.registry import Catalog
from tandem.shared.tasks.spec import AnySpec, Queue

log = logging.getLogger("tandem.llm_worker")

PRIORITIES = {queue: priority for priority, queue in ARQ_QUEUES.items()}
CRON_WINDOW = 0.5  # seconds; arq enqueues what is due within two of them
MOST_WARNED = 1000


class PlainArq(Worker):
    """arq's Worker where jobs of plain arq are concerned; `plain` holds those that run, with score and queue."""

    runtime: Runtime

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.functions = {name: _guarded(function) for name, function in self.functions.items()}
        self.plain: dict[str, tuple[int, str]] = {}
        self._warned: set[str] = set()

    @property
    def book(self) -> AsyncBook:
        return self.runtime.book

    @property
    def catalog(self) -> Catalog:
        return self.runtime.catalog

    def count(self, outcome: Success | Decision | None) -> None:
        """Keep arq's counters, which its health key shows."""
        if isinstance(outcome, Success):
            self.jobs_complete += 1
        elif isinstance(outcome, Fail):
            self.jobs_failed += 1
        else:
            self.jobs_retried += 1

    async def take_in(self, entries: Sequence[Unknown]) -> None:
        """Adopt, run or leave what a claim found in arq's queues and not in the job book."""
        await asyncio.gather(*(self._take_in(entry) for entry in entries))

    async def _take_in(self, entry: Unknown) -> None:
        try:
            record = wire_format.job_deserializer(entry.record)
            name, args, kwargs = str(record["f"]), list(record["a"]), dict(record["k"])
        except (ValueError, TypeError, KeyError):
            self._leave_alone("a record that is not JSON: give wire.job_serializer to whoever enqueues it")
            return
        if not entry.is_text:
            self._leave_alone("an id that is no text")
        elif name in self.catalog and self.catalog[name].queue is Queue.LLM:
            await self._adopt(entry, self.catalog[name], args, kwargs)
        elif name in self.functions:
            await self._start_plain(entry, name)
        else:
            self._leave_alone(f"no function {name[:100]!r}")

    def _leave_alone(self, why: str) -> None:
        if why not in self._warned and len(self._warned) < MOST_WARNED:
            self._warned.add(why)
            log.warning("jobs of plain arq are left to their owner: %s", why)

    async def _adopt(self, entry: Unknown, spec: AnySpec, args: list[Any], kwargs: dict[str, Any]) -> None:
        payload = wire_format.payload(args, kwargs, spec.input.model_fields)
        call = commands.adopt(
            entry.id,
            queue=Queue.LLM,
            task=spec.name,
            payload=payload,
            max_attempts=spec.retry.max_attempts,
            native="arq",
            priority=PRIORITIES[entry.queue],
            lane=Lanes.of(self.runtime.settings).of_text(spec, payload),
            max_age=self.runtime.settings.max_age or None,
        )
        if await self.book.run(call):
            log.info("adopted %s from plain arq", spec.name, extra={"job": entry.id})

    async def _start_plain(self, entry: Unknown, name: str) -> None:
        """Run arq's own way, if no other worker does: the claim moved its score, the key keeps it apart."""
        if not await self.pool.set(in_progress_key_prefix + entry.id, b"1", nx=True, px=ms(LEASE)):
            return
        score = timestamp_ms()
        self.plain[entry.id] = (score, entry.queue)
        task = asyncio.create_task(self.run_job(entry.id, score), name=f"{name} {entry.id}")
        self.tasks[entry.id] = task
        task.add_done_callback(lambda done: self._plain_ended(entry.id, done))

    def _plain_ended(self, job_id: str, task: asyncio.Task[Any]) -> None:
        self.plain.pop(job_id, None)
        self.tasks.pop(job_id, None)
        if not task.cancelled() and (error := task.exception()):
            log.error("job %s of plain arq broke: %r", job_id, error)
        self.freed()

    def freed(self) -> None:
        """Called when a job of plain arq has ended."""

    async def renew_plain(self) -> None:
        """Keep the running jobs of plain arq away from other workers, and heed `arq.jobs.Job.abort()`."""
        if not self.plain:
            return
        async with self.pool.pipeline(transaction=False) as pipe:
            for job_id, (_, queue) in self.plain.items():
                pipe.pexpire(in_progress_key_prefix + job_id, ms(LEASE))
                pipe.zadd(queue, {job_id: timestamp_ms() + ms(LEASE)}, xx=True)
            await pipe.execute()
        await self._cancel_aborted_jobs()

    async def finish_job(
        self,
        job_id: str,
        finish: bool,  # noqa: FBT001
        result_data: bytes | None,
        result_timeout_s: float | None,
        keep_result_forever: bool,  # noqa: FBT001
        incr_score: int | None,
        keep_in_progress: float | None,
    ) -> None:
        """Write what arq writes; outages are waited out, and what runs again is due when arq meant it."""
        score, queue = self.plain[job_id]
        parent = super().finish_job
        args = (finish, result_data, result_timeout_s, keep_result_forever, None, keep_in_progress)
        await _insist(lambda: parent(job_id, *args))
        if finish:
            await _insist(lambda: self._forget(job_id, queue, ran=keep_in_progress is not None))
        else:
            burnt = incr_score is not None or not self.handing_back
            due = max(timestamp_ms(), score + incr_score if incr_score else 0)
            await _insist(lambda: self._again(job_id, queue, due, burnt=burnt))

    handing_back = False  # a stopped worker's jobs don't lose a try

    async def _forget(self, job_id: str, queue: str, *, ran: bool) -> None:
        await self.pool.zrem(queue, job_id)
        if ran:  # a cron job that a slow worker enqueues once more must not run twice
            await self.pool.set(in_progress_key_prefix + job_id, RAN, keepttl=True)

    async def _again(self, job_id: str, queue: str, due: int, *, burnt: bool) -> None:
        await self.pool.zadd(queue, {job_id: due})
        if not burnt:
            await self.pool.decr(retry_key_prefix + job_id)

    async def finish_failed_job(self, job_id: str, result_data: bytes | None) -> None:
        """Write what arq writes for a job that it could not start."""
        queue = self.plain[job_id][1]
        parent = super().finish_failed_job
        await _insist(lambda: parent(job_id, result_data))
        await _insist(lambda: self._forget(job_id, queue, ran=False))


async def _insist(write: Callable[[], Awaitable[None]]) -> None:
    outage = Outage(log, "a result of plain arq waits for Redis")
    while True:
        try:
            return await write()
        except RedisError as error:
            if not unavailable(error):
                raise
            await asyncio.sleep(outage.pause(error))


def _guarded(function: Any) -> Any:
    """Turn what is no Exception (`sys.exit()`) into one: it must not end the other jobs."""
    run = function.coroutine

    @wraps(run)
    async def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return await run(*args, **kwargs)
        except (Exception, asyncio.CancelledError):
            raise
        except BaseException as error:
            raise RuntimeError(f"{type(error).__name__}: {error}") from error

    return replace(function, coroutine=guarded)
