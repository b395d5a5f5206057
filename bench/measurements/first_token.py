"""From a POST with `stream=true` to the first token at a watcher, beside asking the provider directly."""

import http.client
import json
import time

from bench.clients.endpoints import HEADERS, start_gateway
from bench.contenders.everybody import OURS_LLM
from bench.contenders.trial import Trial
from bench.jobs.work import MESSAGES, MODEL
from bench.lab.lab import lab
from bench.lab.processes import NotMeasuredError
from bench.provider import process as provider
from bench.report.result import Effort, Finding, Result
from bench.report.statistics import Latencies, alternating

CALLS, DELAY = 30, 0.1  # seconds that the provider takes for its first token
MILLISECONDS = 1000
GOAL = f"from POST to the first token, provider's own {DELAY * MILLISECONDS:.0f} ms"
CHAT = json.dumps({"messages": MESSAGES})
DIRECT = json.dumps({"model": MODEL, "messages": MESSAGES, "stream": True})


def measure(effort: Effort) -> Result:
    turns: dict[str, list[list[float]]] = {"queue": [], "direct": []}
    with lab(effort.folder / "first-token") as made:
        stub = provider.start(made, delay=DELAY, name="first-token")
        trial = Trial(made, OURS_LLM, "first-token")
        trial.workers(1, **stub.env)
        gateway = start_gateway(made)
        trial.open()
        ways = {"queue": (gateway.port, _through_the_queue), "direct": (stub.port, _directly)}
        for _, name in alternating(list(ways), effort.repeats):
            port, ask = ways[name]
            took = [ask(port) * MILLISECONDS for _ in range(effort.size(CALLS) + 1)][1:]
            turns[name].append(took)
            effort.say(f"  {name}: {Latencies([took]).show()}")
    queue, direct = (Latencies(turns[name]) for name in ("queue", "direct"))
    more = f"{queue.at(50) - direct.at(50):.1f} ms more"
    row = Finding(
        GOAL, "", queue.show(), f"a direct call {direct.show()}", more, None, queue.runs, "slower than no queue", GOAL
    )
    return Result([row], {"milliseconds": turns})


def _through_the_queue(port: int) -> float:
    """Submit, watch, and give the seconds until the first delta."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    began = time.perf_counter()
    connection.request("POST", "/v1/chat?stream=true", CHAT, HEADERS)
    answer = connection.getresponse()
    content = answer.read().decode()
    if answer.status != 202:
        raise NotMeasuredError(f"/v1/chat answered {answer.status}: {content[:200]}")
    connection.request("GET", json.loads(content)["links"]["events"], headers=HEADERS)
    return _until(connection, b"event: delta", began)


def _directly(port: int) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    began = time.perf_counter()
    connection.request("POST", "/v1/chat/completions", DIRECT, {"Content-Type": "application/json"})
    return _until(connection, b'"content"', began)


def _until(connection: http.client.HTTPConnection, text: bytes, began: float) -> float:
    """Read a stream until a line has the text."""
    try:
        for line in connection.getresponse():
            if text in line:
                return time.perf_counter() - began
    finally:
        connection.close()
    raise NotMeasuredError(f"a stream ended without {text.decode()}")
