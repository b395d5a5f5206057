"""The asyncio pool's settings in arq's form: `arq tandem.llm_worker.main.WorkerSettings` starts it.

`WorkerSettings` is made when it is asked for, from the environment. A subclass of it in a module of your own may add
`functions` and `cron_jobs`.
"""

import asyncio
import inspect
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import cache
from typing import Any

import arq.worker
import uvloop
from arq.connections import ArqRedis

from tandem.llm_worker.compat_arq import wire_format
from tandem.llm_worker.compat_arq.redis_settings import redis_settings
from tandem.llm_worker.engine.worker import LlmWorker
from tandem.llm_worker.isolation import processes
from tandem.llm_worker.isolation.attempt import attempt_isolated
from tandem.llm_worker.isolation.processes import ServerProcess
from tandem.llm_worker.isolation.supervisor import IsolationSupervisor
from tandem.llm_worker.runtime import CATALOG, Runtime, check
from tandem.shared.config.settings import BAD_SETTING, Settings, SettingsError, load_or_exit
from tandem.shared.maintenance.fairness import tell_fairness
from tandem.shared.maintenance.scripts import load_scripts
from tandem.shared.runtime.bootstrap import leave, prepare
from tandem.shared.runtime.redis_client import AsyncClient, async_client
from tandem.shared.store.leases import Lease
from tandem.shared.tasks.handlers import BindingError
from tandem.shared.tasks.spec import Queue
from tandem.shared.webhooks.deliverer import Deliverer

log = logging.getLogger("tandem.llm_worker")

HEALTH_EVERY = 5  # seconds; the key that `arq --check` reads lives one more
ArqWorker = arq.worker.Worker
job_serializer, job_deserializer = wire_format.job_serializer, wire_format.job_deserializer


async def _never(ctx: dict[Any, Any]) -> None:
    """Stand for a task in arq's list of functions: attempts run through `tandem.llm_worker.engine.attempt`."""
    raise AssertionError(ctx)


class TandemWorker(LlmWorker):
    """The worker that `make llm-worker` and the `arq` command build. Options are those of arq's Worker."""

    __signature__ = inspect.signature(ArqWorker)  # arq takes the options of this signature from the settings class

    def __init__(self, functions: Sequence[Any] = (), *, ctx: dict[Any, Any] | None = None, **options: Any) -> None:
        self._settings = settings = prepare()
        load_scripts(settings.redis)
        tell_fairness(settings)
        _take_over_logs()
        try:
            check(settings)
        except (BindingError, SettingsError) as error:
            leave(str(error), BAD_SETTING)
        self._ahead = _fork_and_choose_loop(settings)
        tasks = [arq.worker.func(_never, name=spec.name) for spec in CATALOG.of(Queue.LLM)]
        options.setdefault("max_jobs", settings.llm_concurrency)
        options.setdefault("health_check_interval", HEALTH_EVERY)
        options |= {"job_serializer": job_serializer, "job_deserializer": job_deserializer, "allow_abort_jobs": True}
        super().__init__(functions=[*functions, *tasks], ctx={**(ctx or {})}, **options)

    async def open(self, stack: AsyncExitStack) -> None:
        self.runtime = await stack.enter_async_context(Runtime.open(self._settings))
        self._pool = self.ctx["redis"] = self._arq_pool(stack)
        self.wakeups = self._blocking_client(stack)
        deliverer = Deliverer(self._settings, book=self.book, wakeup=self._blocking_client(stack))
        await stack.enter_async_context(deliverer)
        self._isolation = IsolationSupervisor(self._ahead)
        stack.push_async_callback(self._isolation.aclose)

    def _arq_pool(self, stack: AsyncExitStack) -> ArqRedis:
        connections = async_client(self._settings.redis).connection_pool
        pool = ArqRedis(connections, job_serializer=job_serializer, job_deserializer=job_deserializer)
        stack.push_async_callback(pool.aclose, close_connection_pool=True)
        return pool

    def _blocking_client(self, stack: AsyncExitStack) -> AsyncClient:
        client = async_client(self._settings.redis, timeout=None, connections=1)
        stack.push_async_callback(client.aclose)
        return client

    async def attempt_isolated(self, lease: Lease) -> None:
        await attempt_isolated(self.runtime, self._isolation, lease)


def _fork_and_choose_loop(settings: Settings) -> ServerProcess | None:
    """Fork the isolation server, then choose uvloop; neither if a loop runs already (`arq --watch`)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        ahead = _fork(settings)
        asyncio.set_event_loop(uvloop.new_event_loop())
        return ahead
    return None


def _fork(settings: Settings) -> ServerProcess | None:
    try:
        return processes.fork(settings)
    except OSError as error:  # it is tried again for the first suspect
        log.warning("there is no room for the process of suspects: %s", error)
        return None


def _take_over_logs() -> None:
    """Let `arq --verbose` mean our lines; arq's own handler would show each twice, with arguments."""
    logger = logging.getLogger("arq")
    if any(handler.level == logging.DEBUG for handler in logger.handlers):
        logging.getLogger().setLevel(logging.DEBUG)
    logger.handlers.clear()


class Base:
    """arq reads a settings class's own attributes and no inherited ones: a subclass gets them as its own."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        inherited = {name: value for base in reversed(cls.__mro__[1:-1]) for name, value in vars(base).items()}
        for name in inspect.signature(TandemWorker).parameters:
            if name in inherited and name not in vars(cls):
                setattr(cls, name, inherited[name])


@cache
def worker_settings() -> Any:
    """Make the settings class and see to it that arq builds our worker from it."""
    settings = load_or_exit()
    try:
        url = settings.redis
    except SettingsError as error:
        leave(str(error), BAD_SETTING)
    # The `arq` command builds `arq.worker.Worker` by this name and offers no other way to name a subclass.
    arq.worker.Worker = TandemWorker  # type: ignore[misc]
    attributes = {
        "__doc__": "Give this to the `arq` command.",
        "functions": (),
        "redis_settings": redis_settings(url),
        "job_serializer": staticmethod(job_serializer),
        "job_deserializer": staticmethod(job_deserializer),
    }
    return type("WorkerSettings", (Base,), attributes)


def __getattr__(name: str) -> Any:
    if name == "WorkerSettings":
        return worker_settings()
    raise AttributeError(name)
