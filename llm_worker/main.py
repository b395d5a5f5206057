"""The asyncio pool's settings in arq's form: `arq tandem.llm_worker.main.WorkerSettings` starts it.

`WorkerSettings` is made when it is asked for, from the environment. A subclass of it in a module of your own may add
`functions` and `cron_jobs`.
"""

import asyncio
import inspect
import logging
from collections.abc import Sequence
from functools import cache
from typing import Any

import arq.worker
import uvloop
from arq.connections import ArqRedis

from tandem.llm_worker.compat_arq import wire_format
from tandem.llm_worker.compat_arq.redis_settings import redis_settings
from tandem.llm_worker.engine.worker import LlmWorker
from tandem.llm_worker.generation.context import HANDLERS
from tandem.llm_worker.isolation.supervisor import Apart
from tandem.llm_worker.providers.registry import endpoints
from tandem.llm_worker.providers.router import Router
from tandem.llm_worker.rate_limit.limiter import Limiter
from tandem.llm_worker.rate_limit.rate_limited import RateLimitedGate, Scopes
from tandem.shared.config.settings import BAD_SETTING, Settings, SettingsError, load_or_exit
from tandem.shared.runtime.bootstrap import leave, prepare
from tandem.shared.runtime.redis_client import async_client
from tandem.shared.store.executor import BatchingBook
from tandem.shared.tasks.handlers import BindingError
from tandem.shared.tasks.registry import load
from tandem.shared.tasks.spec import Queue
from tandem.shared.webhooks.deliverer import Deliverer

CATALOG = load()
HEALTH_EVERY = 5  # seconds; the key that `arq --check` reads lives one more
ArqWorker = arq.worker.Worker
job_serializer, job_deserializer = wire_format.job_serializer, wire_format.job_deserializer


def context(settings: Settings) -> dict[Any, Any]:
    """What attempts are given. Raises BindingError or SettingsError."""
    HANDLERS.load("tandem.llm_worker.handlers", CATALOG)
    endpoints(settings)
    return {"settings": settings, "catalog": CATALOG}


async def startup(ctx: dict[Any, Any]) -> None:
    """Open what all attempts of this process share."""
    settings: Settings = ctx["settings"]
    ctx["book"] = BatchingBook(async_client(settings.redis))
    ctx["limits"] = async_client(settings.redis, connections=1)  # whose requests go one after the other
    ctx["parks"] = async_client(settings.redis, timeout=None, connections=1)
    ctx["limiter"] = Limiter.open(ctx["limits"], ctx["parks"])
    scopes = Scopes.of(settings, default=endpoints(settings)[0].name)
    ctx["router"] = Router.open(settings, RateLimitedGate(ctx["limiter"], scopes))


async def shutdown(ctx: dict[Any, Any]) -> None:
    """Close what `startup` opened."""
    await ctx["router"].aclose()
    await ctx["limiter"].aclose()
    for name in ("limits", "parks"):
        await ctx[name].aclose()
    await ctx["book"].aclose()


async def _never(ctx: dict[Any, Any]) -> None:
    """Stand for a task in arq's list of functions: attempts run through `tandem.llm_worker.engine.attempt`."""
    raise AssertionError(ctx)


class TandemWorker(LlmWorker):
    """The worker that `make llm-worker` and the `arq` command build. Options are those of arq's Worker."""

    __signature__ = inspect.signature(ArqWorker)  # arq takes the options of this signature from the settings class

    def __init__(self, functions: Sequence[Any] = (), *, ctx: dict[Any, Any] | None = None, **options: Any) -> None:
        settings = prepare()
        _take_over_logs()
        try:
            own = context(settings)
        except (BindingError, SettingsError) as error:
            leave(str(error), BAD_SETTING)
        _choose_loop()
        tasks = [arq.worker.func(_never, name=spec.name) for spec in CATALOG.of(Queue.LLM)]
        options.setdefault("max_jobs", settings.llm_concurrency)
        options.setdefault("health_check_interval", HEALTH_EVERY)
        options |= {"job_serializer": job_serializer, "job_deserializer": job_deserializer, "allow_abort_jobs": True}
        super().__init__(functions=[*functions, *tasks], ctx={**(ctx or {}), **own}, **options)

    async def open(self) -> None:
        url = self.settings.redis
        await startup(self.ctx)
        self.ctx["apart"] = Apart()
        self.ctx["bell"] = async_client(url, timeout=None, connections=1)
        self.ctx["webhook_bell"] = async_client(url, timeout=None, connections=1)
        self.ctx["deliverer"] = Deliverer(self.settings, book=self.book, bell=self.ctx["webhook_bell"])
        await self.ctx["deliverer"].__aenter__()
        connections = async_client(url).connection_pool
        self._pool = ArqRedis(connections, job_serializer=job_serializer, job_deserializer=job_deserializer)
        self.ctx["redis"] = self._pool

    async def close_shared(self) -> None:
        if self._pool is None:
            return
        await self.ctx["apart"].aclose()
        await self.ctx["deliverer"].__aexit__()
        for name in ("webhook_bell", "bell"):
            await self.ctx[name].aclose()
        await self._pool.aclose(close_connection_pool=True)
        self._pool = None
        await shutdown(self.ctx)


def _choose_loop() -> None:
    """uvloop, unless a loop runs already (`arq --watch`)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.set_event_loop(uvloop.new_event_loop())


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
