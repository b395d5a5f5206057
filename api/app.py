"""The gateway's application factory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse
from fastapi_offline import FastAPIOffline

from tandem.api.jobs import actions, events, explain
from tandem.api.jobs import routes as job_routes
from tandem.api.jobs.outgoing import Outgoing
from tandem.api.jobs.subscriptions import Subscriptions
from tandem.api.links import job_url
from tandem.api.ops import health, metrics, parks, queues
from tandem.api.server import error_responses
from tandem.api.server.body_limit import BodyLimit
from tandem.api.server.head import HeadAsGet
from tandem.api.server.request_id import RequestId
from tandem.api.server.traffic import Counted, Traffic
from tandem.api.submission import catalogue
from tandem.api.submission import routes as task_routes
from tandem.api.submission.submit import Submitter
from tandem.api.submission.webhook_target import WebhookTargets, check_keys
from tandem.shared.config.settings import Settings
from tandem.shared.dispatch import Dispatcher, places
from tandem.shared.jobs.submission import Admission
from tandem.shared.limits.lanes import Lanes
from tandem.shared.runtime.redis_client import async_client
from tandem.shared.runtime.redis_memory import RedisMemory
from tandem.shared.storage.artifacts import open_store
from tandem.shared.store.batching import BatchingBook
from tandem.shared.tasks.registry import Catalog, load

DESCRIPTION = """Background jobs for LLM applications. Submit with POST, get 202 and a job, poll or wait for its result.

Every call but `/healthz` and `/readyz` needs `Authorization: Bearer KEY`."""

CONNECTIONS = 4  # to Redis; one more is for what is watched
PATIENCE = 10.0  # seconds for an answer of Redis, all tries together: a caller must not wait for one that hangs
ROUTERS = tuple(
    part.router for part in (health, job_routes, explain, events, actions, queues, parks, metrics, catalogue)
)


def create_app(settings: Settings, catalog: Catalog | None = None) -> FastAPI:
    """Build the gateway.

    Raises:
        SettingsError: no API keys, or no address of Redis.
        ValueError: a key's webhook leads where none may go, or can't be signed.

    """
    check_keys(settings.keys, allow_private=settings.allow_private_webhooks, signed=_signed(settings))
    # FastAPI with its docs pages served from here: no CDN sees who reads them, and they work offline.
    app = FastAPIOffline(
        title="Tandem", version="0.1.0", description=DESCRIPTION, lifespan=_opened, redirect_slashes=False
    )
    app.state.catalog = catalog or load()
    app.state.settings = settings
    app.state.keys = settings.keys
    app.state.traffic = Traffic()
    app.state.metrics_public = settings.metrics_public
    error_responses.install(app)
    _add_middleware(app)
    app.add_api_route("/", to_the_docs, include_in_schema=False)
    for router in ROUTERS:
        app.include_router(router)
    app.router.routes += task_routes.routes(app.state.catalog)
    app.openapi()  # built once, here: it takes a while, and a mistake in it fails at start
    # Most requests are submissions: they are looked at first. The document keeps its order.
    app.router.routes.sort(key=lambda route: not isinstance(route, task_routes.SubmitRoute))
    return app


@asynccontextmanager
async def _opened(app: FastAPI) -> AsyncIterator[None]:
    """Connect to Redis and open the files, for as long as the gateway serves."""
    settings: Settings = app.state.settings
    # Few connections, however many callers: what they ask in one tick of the loop goes out together.
    book = BatchingBook(async_client(settings.redis, connections=CONNECTIONS), patience=PATIENCE)
    subscriber = async_client(settings.redis, timeout=None, connections=1)
    app.state.book = book
    app.state.files = open_store(settings.files)
    app.state.outgoing = Outgoing(book, app.state.files)
    memory = RedisMemory(share=settings.redis_share)
    dispatcher = Dispatcher(
        book,
        admission=admission(settings),
        idempotency_ttl=settings.idempotency_ttl,
        url_of=job_url,
        lanes=Lanes.of(settings),
        memory=memory,
    )
    targets = WebhookTargets(allow_private=settings.allow_private_webhooks, signed=_signed(settings))
    app.state.submitter = Submitter(dispatcher, book, targets)
    async with (
        Subscriptions(subscriber, book) as app.state.subscriptions,
        app.state.traffic.handed_to(book),
        memory.watched(book.client),
    ):
        yield
    await subscriber.aclose()
    await book.aclose()


async def to_the_docs(request: Request) -> RedirectResponse:
    """Lead to the API's pages."""
    return RedirectResponse(f"{request.scope.get('root_path', '')}/docs")


def _add_middleware(app: FastAPI) -> None:
    """The last one added sees a request first."""
    app.add_middleware(HeadAsGet)
    app.add_middleware(BodyLimit, limit=int(app.state.settings.max_body))
    app.add_middleware(RequestId)
    app.add_middleware(Counted, traffic=app.state.traffic)


def _signed(settings: Settings) -> bool:
    return settings.webhook_key is not None


def admission(settings: Settings) -> Admission:
    """Give what each key may submit; TANDEM_CONFIG may say otherwise of one."""
    return Admission(
        queue_max=settings.queue_max,
        share=places(settings.key_share, settings.queue_max),
        rpm=settings.key_rpm,
        max_age=settings.max_age,
    )
