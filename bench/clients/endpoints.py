"""One process of the gateway, or of what one would write in its place, and how requests are sent to it."""

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from bench.lab.lab import ROOT, USER_KEY, Lab
from bench.lab.processes import NotMeasuredError, Running
from tandem.deploy.local.ports import free_port

BODY = json.dumps({"text": "The parcel came a day early and well packed.", "rubric": "How satisfied is the customer?"})
HEADERS = {"Authorization": f"Bearer {USER_KEY}", "Content-Type": "application/json"}


@dataclass
class Endpoint:
    process: Running
    port: int
    path: str

    def load(self, seconds: float, *, rate: float = 0.0, path: str = "", body: str = BODY) -> dict[str, Any]:
        """Send submissions; gives what `bench.clients.load` printed, refusing a run with a single wrong answer."""
        options = ["--port", self.port, "--path", path or self.path, "--seconds", seconds, "--rate", rate]
        done = subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "-m", "bench.clients.load", *map(str, options)],
            input=json.dumps({"body": body, "headers": HEADERS}),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=seconds + 60,
            check=False,
        )
        if done.returncode:
            raise NotMeasuredError(done.stderr[-400:])
        found: dict[str, Any] = json.loads(done.stdout)
        if set(found["statuses"]) != {"202"}:
            raise NotMeasuredError(f"answers by status: {found['statuses']}")
        return found

    @contextmanager
    def connected(self) -> Iterator["Connection"]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            yield Connection(connection)


@dataclass
class Connection:
    """One kept alive."""

    http: http.client.HTTPConnection

    def post(
        self, path: str, body: object, *, wanted: int = 202, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Send JSON and give the JSON answered. Raises NotMeasuredError unless the status is the one wanted."""
        self.http.request("POST", path, json.dumps(body), {**HEADERS, **(headers or {})})
        return self._answer(path, wanted)

    def get(self, path: str) -> dict[str, Any]:
        self.http.request("GET", path, headers=HEADERS)
        return self._answer(path, 200)

    def _answer(self, path: str, wanted: int) -> dict[str, Any]:
        answer = self.http.getresponse()
        content = answer.read().decode()
        if answer.status != wanted:
            raise NotMeasuredError(f"{path} answered {answer.status}: {content[:200]}")
        found: dict[str, Any] = json.loads(content)
        return found


def start_gateway(made: Lab, *, extended: bool = False, **env: str) -> Endpoint:
    """Start one process of the real gateway; `extended` by the endpoints of the bench's own tasks."""
    port = free_port()
    module = ("bench.jobs.extended", "tandem.api") if extended else ("tandem.api",)
    process = made.python(*module, env={"PORT": str(port), "TANDEM_LOG_LEVEL": "info", **env})
    process.until_says("listening on port")
    return Endpoint(process, port, "/v1/score")


def start_bare(made: Lab, **env: str) -> Endpoint:
    port = free_port()
    options = ["--port", port, "--no-access-log", "--log-level", "info"]
    process = made.python("uvicorn", "bench.clients.bare_endpoint:app", *options, env=env)
    process.until_says("Application startup complete")
    return Endpoint(process, port, "/score")
