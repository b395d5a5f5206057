"""One request can be followed by its id through every part, and what is private stays out of the logs."""

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tandem.deploy.local.ports import free_port
from tests.support.platform import Platform, platform
from tests.support.processes import ROOT, Process, until

pytestmark = pytest.mark.slow

KEY, PROMPT, PAGE = "sk-secret-of-the-test", "a very private prompt", "a very private page"
ANSWER = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Well."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}


class Provider(BaseHTTPRequestHandler):
    """Answers everything alike and keeps the headers that came."""

    seen: list[dict[str, str]]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append({name.lower(): value for name, value in self.headers.items()})
        body = json.dumps(ANSWER).encode()
        self.send_response(200)
        for name, value in (("Content-Type", "application/json"), ("x-request-id", "req_theirs")):
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def provider() -> Iterator[tuple[str, list[dict[str, str]]]]:
    seen: list[dict[str, str]] = []
    handler = type("Handler", (Provider,), {"seen": seen})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1", seen
        server.shutdown()


def lines(started: Platform, request_id: str) -> list[tuple[str, dict[str, Any]]]:
    """The log lines that carry a request id, each with the part that wrote it."""
    found = []
    for line in started.process.output.splitlines():
        part, _, text = line.partition(" | ")
        if text.startswith("{") and (entry := json.loads(text)).get("request") == request_id:
            found.append((part.strip(), entry))
    return found


def test_a_request_can_be_followed_through_all_parts(tmp_path: Path) -> None:
    with (
        provider() as (url, seen),
        platform(
            tmp_path, OPENAI_BASE_URL=url, OPENAI_API_KEY=KEY, TANDEM_LOG_FORMAT="json", TANDEM_KEY_RPM="2"
        ) as started,
    ):
        jobs = {
            "chat": ("llm-worker", {"messages": [{"role": "user", "content": PROMPT}]}),
            "report": ("sync-worker", {"html": f"<p>{PAGE}</p>"}),
        }
        for task, (worker, body) in jobs.items():
            with started.client() as client:
                headers = {"Prefer": "wait=60", "X-Request-ID": f"follow-{task}"}
                answer = client.post(f"/v1/{task}", json=body, headers=headers)
            assert (answer.status_code, answer.headers["x-request-id"]) == (200, f"follow-{task}")

            def said(request: str = f"follow-{task}") -> set[tuple[str, str]]:
                return {(part, entry["event"]) for part, entry in lines(started, request)}

            until(lambda: {("api", "accepted"), (worker, "succeeded")} <= said(), what="both lines")  # noqa: B023
            assert {entry["job"] for _, entry in lines(started, f"follow-{task}")} == {answer.json()["id"]}
        with started.client() as client:
            refused = client.post("/v1/chat", json=jobs["chat"][1], headers={"X-Request-ID": "refused"})
        assert refused.status_code == 429
        until(lambda: lines(started, "refused"), what="the line of the refusal")
        [(_, refusal)] = lines(started, "refused")
        [accepted] = [entry for _, entry in lines(started, "follow-chat") if entry["event"] == "accepted"]
        assert (refusal["owner"], accepted["owner"]) == ("admin", "admin")
        [call] = [entry for _, entry in lines(started, "follow-chat") if "provider_request" in entry]
        assert (call["event"], call["provider_request"]) == ("127.0.0.1 answered 200", "req_theirs")
        assert [headers["x-client-request-id"] for headers in seen] == ["follow-chat"]
    assert not [secret for secret in (KEY, PROMPT, PAGE) if secret in started.process.output]


@pytest.mark.parametrize(
    ("declared", "form"), [("json", '"event": "listening on port'), ("auto", "] listening on port")]
)
def test_the_form_of_the_lines_may_stand_in_the_env_file(declared: str, form: str, tmp_path: Path) -> None:
    """Where nothing is declared, somebody reads along."""
    (tmp_path / ".env").write_text(f"TANDEM_LOG_FORMAT={declared}\n")
    env = {"RUN_DIR": str(tmp_path), "PORT": str(free_port()), "DASHBOARD_PORT": str(free_port())}
    command = [sys.executable, "-m", "tandem.deploy.local.run"]
    process = Process(command, env={**env, "PYTHONPATH": str(ROOT)}, log=tmp_path / "log", cwd=tmp_path)
    try:
        process.until_says("\nready http://")
        assert form in process.output
    finally:
        process.stop()
