"""What callers are answered by a gateway that is told to stop."""

import asyncio

import httpx
import uvicorn

from tandem.api.server.listener import listen
from tandem.api.server.protocol import BoundedProtocol
from tests.support.gateway import CHAT, Gateway, is_problem
from tests.support.processes import until
from tests.support.servers.proxy import Proxy, Way

ANN = {"Authorization": "Bearer ann-key-0123456789abc"}


async def test_who_still_waits_for_redis_is_sent_elsewhere(behind: Gateway, network: Proxy) -> None:
    config = uvicorn.Config(
        behind.app, http=BoundedProtocol, log_config=None, lifespan="off", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    with listen("127.0.0.1", 0) as listener:
        serving = asyncio.create_task(server.serve([listener]))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1/chat"
        async with httpx.AsyncClient(headers=ANN, timeout=30) as client:
            network.partition(Way.DOWN)
            asking = asyncio.create_task(client.post(url, json=CHAT))
            await asyncio.to_thread(until, lambda: server.server_state.tasks, what="a request that waits")
            server.should_exit = True
            problem = await asking
            network.partition()
        await serving
    is_problem(problem, 503)
    assert int(problem.headers["retry-after"]) > 0
