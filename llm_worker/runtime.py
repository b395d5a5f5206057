"""What all attempts of one process of the asyncio pool share."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Self

from tandem.llm_worker.generation.context import HANDLERS
from tandem.llm_worker.providers.registry import endpoints
from tandem.llm_worker.providers.router import Router
from tandem.llm_worker.rate_limit.limiter import Limiter
from tandem.llm_worker.rate_limit.rate_limited import RateLimitedGate
from tandem.shared.config.settings import Settings
from tandem.shared.limits.scopes import Scopes
from tandem.shared.runtime.redis_client import LEASE_TIMEOUT, async_client
from tandem.shared.storage.artifacts import Artifacts, open_files
from tandem.shared.store.batching import BatchingBook
from tandem.shared.store.executor import AsyncBook
from tandem.shared.tasks.registry import Catalog, load

CATALOG = load()


def check(settings: Settings) -> None:
    """Load the handlers and see to it that the settings name providers: what would fail later fails at start.

    Raises:
        BindingError: specs and handlers don't match.
        SettingsError: as `endpoints`, or TANDEM_FILES_URL can't be used.

    """
    HANDLERS.load("tandem.llm_worker.handlers", CATALOG)
    endpoints(settings)
    open_files(settings)


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """Settings, tasks, the job book, the store of files and the providers behind their limits.

    `leases` is the job book over a connection that nothing but renewals uses: what else waits holds none of them up.
    """

    settings: Settings
    catalog: Catalog
    book: AsyncBook
    leases: AsyncBook
    files: Artifacts
    router: Router
    gate: RateLimitedGate
    scopes: Scopes

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings) -> AsyncIterator[Self]:
        """Open the connections, and close them in the end."""
        async with AsyncExitStack() as stack:
            book = BatchingBook(async_client(settings.redis))
            stack.push_async_callback(book.aclose)
            renewals = async_client(settings.redis, timeout=LEASE_TIMEOUT, connections=1, retries=0)
            leases = BatchingBook(renewals)
            stack.push_async_callback(leases.aclose)
            # Requests of the limiter go one after the other; who is parked reads from a connection of its own.
            parks = async_client(settings.redis, timeout=None, connections=1)
            stack.push_async_callback(parks.aclose)
            limits = async_client(settings.redis, connections=1)
            stack.push_async_callback(limits.aclose)
            limiter = Limiter.open(AsyncBook(limits), parks)
            stack.push_async_callback(limiter.aclose)
            scopes = Scopes.of(settings, default=endpoints(settings)[0].name)
            gate = RateLimitedGate(limiter, scopes)
            router = Router.open(settings, gate)
            stack.push_async_callback(router.aclose)
            yield cls(
                settings=settings,
                catalog=CATALOG,
                book=book,
                leases=leases,
                files=open_files(settings),
                router=router,
                gate=gate,
                scopes=scopes,
            )
