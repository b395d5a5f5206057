"""The asyncio pool's settings, in arq's form."""

from typing import Any

from arq.worker import func

from llm_worker.context import HANDLERS
from llm_worker.deliverer import Deliverer
from llm_worker.endpoints import endpoints
from llm_worker.limited import LimitedGate, Scopes
from llm_worker.limiter import Limiter
from llm_worker.router import Router
from llm_worker.run import attempt
from llm_worker.worker import LlmWorker
from shared.book import BatchingBook
from shared.catalog import load
from shared.redis import async_client
from shared.settings import Settings
from shared.spec import Queue

CATALOG = load()


async def startup(ctx: dict[Any, Any]) -> None:
    """Open what all attempts of this process share."""
    settings: Settings = ctx["settings"]
    ctx["catalog"] = CATALOG
    ctx["attempt"] = attempt
    ctx["book"] = BatchingBook(async_client(settings.redis))
    ctx["bell"] = async_client(settings.redis, timeout=None, connections=1)
    ctx["webhook_bell"] = async_client(settings.redis, timeout=None, connections=1)
    ctx["deliverer"] = Deliverer(settings, book=ctx["book"], bell=ctx["webhook_bell"])
    await ctx["deliverer"].__aenter__()
    ctx["limits"] = async_client(settings.redis, connections=1)  # whose requests go one after the other
    ctx["parks"] = async_client(settings.redis, timeout=None, connections=1)
    ctx["limiter"] = Limiter.open(ctx["limits"], ctx["parks"])
    ctx["router"] = Router.open(settings, LimitedGate(ctx["limiter"], Scopes.of(settings)))


async def shutdown(ctx: dict[Any, Any]) -> None:
    await ctx["deliverer"].__aexit__()
    await ctx["webhook_bell"].aclose()
    await ctx["router"].aclose()
    await ctx["limiter"].aclose()
    await ctx["limits"].aclose()
    await ctx["parks"].aclose()
    await ctx["bell"].aclose()
    await ctx["book"].aclose()


async def _never(ctx: dict[Any, Any]) -> None:
    """Stand for a task in arq's list of functions: attempts run through `llm_worker.run`."""
    raise AssertionError(ctx)


def worker(settings: Settings, *, burst: bool = False) -> LlmWorker:
    """Build a worker; handlers and specs are checked first. Raises BindingError or SettingsError."""
    HANDLERS.load("llm_worker.handlers", CATALOG)
    endpoints(settings)
    return LlmWorker(
        functions=[func(_never, name=spec.name) for spec in CATALOG.of(Queue.LLM)],
        on_startup=startup,
        on_shutdown=shutdown,
        max_jobs=settings.llm_concurrency,
        burst=burst,
        ctx={"settings": settings},
    )
