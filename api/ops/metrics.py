"""What Prometheus reads."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.security import HTTPAuthorizationCredentials
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from tandem.api.auth.keys import authenticate, bearer, require_admin
from tandem.api.dependencies import TheBook
from tandem.api.ops.prometheus import BookMetrics
from tandem.api.server.errors import Forbidden, Unauthorized, raises
from tandem.api.server.routing import ApiRoute
from tandem.shared.store.keys import Key
from tandem.shared.store.limits.explanation import told
from tandem.shared.store.queues import QueueName, look
from tandem.shared.store.scripts import Call

router = APIRouter(tags=["operations"], route_class=ApiRoute)

COUNTERS: Call[dict[str, int]] = Call(
    "HGETALL",
    [Key.METRICS],
    lambda answer: {name.decode(): int(value) for name, value in answer.items()},
    command=True,
)


@raises(Unauthorized, Forbidden)
async def may_read(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
) -> None:
    """An admin key, unless the metrics are public."""
    if not request.app.state.metrics_public:
        await require_admin(await authenticate(request, credentials))


@router.get(
    "/metrics",
    summary="Metrics in Prometheus's text form: an admin key, or TANDEM_METRICS_PUBLIC=1.",
    dependencies=[Depends(may_read)],
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "All metrics."}},
)
async def metrics(request: Request, book: TheBook) -> Response:
    await request.app.state.traffic.flush(book)
    counters = await book.run(COUNTERS)
    queues = await book.run_all([look(name) for name in QueueName])
    limits = await book.run(told())
    shown = CollectorRegistry(auto_describe=False)
    shown.register(BookMetrics(counters, queues, limits))
    return Response(generate_latest(shown), headers={"Content-Type": CONTENT_TYPE_LATEST})
