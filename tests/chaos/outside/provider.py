"""An OpenAI-compatible provider with faults: `python -m tests.chaos.outside.provider --log FILE --seed N`.

It numbers the requests, says the number in each answer, and writes down when each came: what a job's result says must
be an answer to that job, asked for by the run that held its lease.
"""

import argparse
import asyncio
import json
import random
import re
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from aiohttp import web

from tests.chaos.plan.model import SLOW
from tests.support.servers.provider_stub import chunk, refused, said

MARKER = re.compile(r"job-\d+-\d+\.")
SAID = re.compile(r"answer (\d+) to (job-\d+-\d+\.)")
DELAY = (0.02, 0.25)  # seconds
FAULTS = {"error": 1.0, "unavailable": 0.5, "limited": 0.1, "cut": 0.5, "garbage": 0.3, "late": 0.5}  # per cent
USAGE = {"prompt_tokens": 5, "completion_tokens": 2}

Answer = web.StreamResponse


@dataclass(frozen=True)
class Asked:
    """One request, as it is in the log."""

    number: int
    came: float
    marker: str
    fault: str


def read(log: Path) -> list[Asked]:
    return [Asked(**json.loads(line)) for line in log.read_text().splitlines() if line.endswith("}")]


class Provider:
    """Answers, or does what goes wrong with providers."""

    def __init__(self, log: TextIO, seed: int) -> None:
        self._log = log
        self._chance = random.Random(seed)  # noqa: S311 - the same faults for the same seed
        self._number = 0

    async def handle(self, request: web.Request) -> Answer:
        """Serve a chat completion or embeddings."""
        came = time.time()
        body = await request.json()
        found = MARKER.search(text := json.dumps(body))
        marker = found[0] if found else ""
        self._number += 1
        number, fault = self._number, self._fault()
        self._log.write(json.dumps(asdict(Asked(number, came, marker, fault))) + "\n")
        slow = fault == "late" or " slow" in text
        await asyncio.sleep(SLOW if slow else self._chance.uniform(*DELAY))
        say = f"answer {number} to {marker}"
        if faulty := FAULTY.get(fault):
            return await faulty(request)
        if request.path.endswith("embeddings"):
            data = [{"index": i, "embedding": [float(number)]} for i in range(len(body["input"]))]
            return web.json_response({"model": "m", "data": data, "usage": {"prompt_tokens": 5}})
        if body.get("stream"):
            return await _stream(request, say)
        return said(_shaped(body, say), usage=USAGE)

    def _fault(self) -> str:
        kinds = [*FAULTS, ""]
        return self._chance.choices(kinds, [*FAULTS.values(), 100 - sum(FAULTS.values())])[0]


def _shaped(body: dict[str, Any], say: str) -> str:
    """Answer in the form that is asked for: of `score`, of the plan's `extract`, or plain text."""
    if "response_format" not in body:
        return say
    return json.dumps({"score": 5, "reason": say, "said": say} if "score" in json.dumps(body) else {"said": say})


async def _stream(request: web.Request, say: str) -> Answer:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for word in say.split(" "):
        await response.write(chunk(word + " ").encode())
        await asyncio.sleep(0.02)
    await response.write(chunk(finish="stop", usage=USAGE).encode() + b"data: [DONE]\n\n")
    return response


async def _error(_: web.Request) -> Answer:
    return refused(500, message="an error of ours")


async def _unavailable(_: web.Request) -> Answer:
    return refused(503, message="overloaded")


async def _limited(_: web.Request) -> Answer:
    return refused(429, {"retry-after-ms": "200"}, message="slow down", code="rate_limit_exceeded")


async def _garbage(_: web.Request) -> Answer:
    return web.Response(text="<html>", content_type="text/html")


async def _cut(request: web.Request) -> Answer:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


FAULTY: dict[str, Callable[[web.Request], Awaitable[Answer]]] = {
    "error": _error,
    "unavailable": _unavailable,
    "limited": _limited,
    "garbage": _garbage,
    "cut": _cut,
}


async def serve(log: Path, seed: int, port: int) -> None:
    with log.open("a", buffering=1) as lines:
        app = web.Application()
        app.router.add_post("/v1/{path:.*}", Provider(lines, seed).handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        await web.SockSite(runner, listener).start()
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    asyncio.run(serve(options.log, options.seed, options.port))


if __name__ == "__main__":
    main()
