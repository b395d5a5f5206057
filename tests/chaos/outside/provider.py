"""An OpenAI-compatible provider with faults: `python -m tests.chaos.outside.provider --log FILE --seed N --port N`.

It numbers the requests, says the number in each answer, and writes down who asked (by the API key), when, what was
answered, and whether the answer was taken: what a job's result says must be an answer to that job, asked for by the run
that held its lease.
"""

import asyncio
import json
import random
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.chaos.outside import lines
from tests.chaos.outside.records import Request
from tests.chaos.outside.serving import main, serve
from tests.chaos.plan.model import SLOW
from tests.support.servers.provider_stub import chunk, refused, said

MARKER = re.compile(r"job-\d+-\d+\.")
SAID = re.compile(r"answer (\d+) to (job-\d+-\d+\.)")
DELAY = (0.02, 0.25)  # seconds
FAULTS = {"error": 1.0, "unavailable": 0.5, "limited": 0.1, "cut": 0.5, "garbage": 0.3, "late": 0.5}  # per cent
RETRY_AFTER = 0.2  # seconds, says a 429
PARKED = 5.0  # likewise one that was asked for
ASKED_FOR = re.compile(r"(first|always) (error|limited)")  # what a request's text wants for an answer
ASKED = 5  # tokens of a request, whatever it says
ANSWERED = 40  # tokens of an answer: always as many, so that a limit of tokens can be kept to the last one

Answer = web.StreamResponse


def read(log: Path) -> list[Request]:
    """Read the log; raises ValueError if it is not one."""
    return [Request(**entry) for entry in lines.read(log, "number")]


class Provider:
    """Answers, or does what goes wrong with providers."""

    def __init__(self, log: lines.Log, seed: int) -> None:
        self._log = log
        self._chance = random.Random(seed)  # noqa: S311 - the same faults for the same seed
        self._number = 0
        self._had: set[str] = set()  # markers that have had the first answer they want

    async def handle(self, request: web.Request) -> Answer:
        """Serve a chat completion or embeddings, and write down what came of it."""
        came, body = time.time(), await request.json()
        self._number += 1
        # A model may be named after another job.
        found = MARKER.search(text := json.dumps({**body, "model": ""}))
        marker = found[0] if found else ""
        number, wanted = self._number, self._wanted(text, marker)
        fault = wanted or self._fault()
        asker = request.headers.get("Authorization", "").removeprefix("Bearer ")
        wait = 0.0 if fault != "limited" else PARKED if wanted else RETRY_AFTER
        what = {"model": body["model"], "came": came, "fault": fault, "retry_after": wait}
        self._log.write(number=number, asker=asker, marker=marker, **what)
        slow, taken, tokens = fault == "late" or " slow" in text, False, 0
        try:
            await asyncio.sleep(SLOW if slow else self._chance.uniform(*DELAY))
            if faulty := FAULTY.get(fault):
                return await _sent(request, await faulty(request, wait))
            usage = {"prompt_tokens": ASKED, "completion_tokens": ANSWERED}
            tokens = sum(usage.values())
            answer = await _answer(request, body, f"answer {number} to {marker}", usage)
            taken = _there(request)
            return answer
        finally:
            self._log.write(number=number, ended=time.time(), tokens=tokens, taken=taken)

    def _wanted(self, text: str, marker: str) -> str:
        """Give the fault that a request's text wants, if it still does."""
        found = ASKED_FOR.search(text)
        if found is None or (found[1] == "first" and marker in self._had):
            return ""
        self._had.add(marker)
        return found[2]

    def _fault(self) -> str:
        kinds = [*FAULTS, ""]
        return self._chance.choices(kinds, [*FAULTS.values(), 100 - sum(FAULTS.values())])[0]


async def _answer(request: web.Request, body: dict[str, Any], say: str, usage: dict[str, int]) -> Answer:
    """Answer well; returns when the whole answer is sent."""
    if body.get("stream"):
        return await _stream(request, say, usage)
    if request.path.endswith("embeddings"):
        number = float(say.split(" ")[1])
        data = [{"index": i, "embedding": [number]} for i in range(len(body["input"]))]
        shown = {"prompt_tokens": sum(usage.values()), "total_tokens": sum(usage.values())}
        return await _sent(request, web.json_response({"model": body["model"], "data": data, "usage": shown}))
    return await _sent(request, said(_shaped(body, say), usage=usage))


async def _sent(request: web.Request, answer: Answer) -> Answer:
    await answer.prepare(request)
    await answer.write_eof()
    return answer


def _there(request: web.Request) -> bool:
    return request.transport is not None and not request.transport.is_closing()


def _shaped(body: dict[str, Any], say: str) -> str:
    """Answer in the form that is asked for: of `score`, of the plan's `extract`, or plain text."""
    if "response_format" not in body:
        return say
    return json.dumps({"score": 5, "reason": say, "said": say} if "score" in json.dumps(body) else {"said": say})


async def _stream(request: web.Request, say: str, usage: dict[str, int]) -> Answer:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for word in say.split(" "):
        await response.write(chunk(word + " ").encode())
        await asyncio.sleep(0.02)
    await response.write(chunk(finish="stop", usage=usage).encode() + b"data: [DONE]\n\n")
    await response.write_eof()
    return response


async def _error(_: web.Request, __: float) -> Answer:
    return refused(500, message="an error of ours")


async def _unavailable(_: web.Request, __: float) -> Answer:
    return refused(503, message="overloaded")


async def _limited(_: web.Request, wait: float) -> Answer:
    return refused(429, {"retry-after-ms": f"{1000 * wait:.0f}"}, message="slow down", code="rate_limit_exceeded")


async def _garbage(_: web.Request, __: float) -> Answer:
    return web.Response(text="<html>", content_type="text/html")


async def _cut(request: web.Request, _: float) -> Answer:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


FAULTY: dict[str, Callable[[web.Request, float], Awaitable[Answer]]] = {
    "error": _error,
    "unavailable": _unavailable,
    "limited": _limited,
    "garbage": _garbage,
    "cut": _cut,
}


async def _serve(log: lines.Log, seed: int, port: int) -> None:
    await serve(Provider(log, seed).handle, path="/v1/{path:.*}", port=port)


if __name__ == "__main__":
    main(__doc__, _serve)
