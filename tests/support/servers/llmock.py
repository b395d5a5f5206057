"""llmock, the OpenAI-compatible stand-in, as a process of its own."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest


class LlMock:
    """A running llmock: script it, and read what it was asked."""

    def __init__(self, client: httpx.Client, url: str) -> None:
        self._client = client
        self.url = url

    def reset(self) -> None:
        self._client.post("/_llmock/reset").raise_for_status()

    def script(self, *behaviors: dict[str, Any]) -> None:
        self._client.post("/_llmock/scenario", json={"behaviors": behaviors}).raise_for_status()

    def reply(self, *texts: str) -> None:
        self.script(*({"type": "reply", "text": text} for text in texts))

    @property
    def records(self) -> list[dict[str, Any]]:
        answer = self._client.get("/_llmock/requests").raise_for_status().json()
        return list(answer["requests"])

    @property
    def verdict(self) -> dict[str, Any]:
        """What llmock thinks of its client."""
        return dict(self._client.get("/_llmock/verdict").raise_for_status().json())

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [record["body"] for record in self.records]


Servers = Callable[..., LlMock]


@contextmanager
def serve_llmock(*options: str) -> Iterator[LlMock]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    llmock = str(Path(sys.executable).with_name("llmock"))
    command = [llmock, "serve", "--port", str(port), "--log-level", "error", *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            _wait(client, process)
            yield LlMock(client, f"http://127.0.0.1:{port}/v1")
    finally:
        process.terminate()
        process.wait(10)


def _wait(client: httpx.Client, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            client.get("/health").raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.02)
        else:
            return
    pytest.fail("llmock did not start")
