"""`make demo`: one job of each task type through REST, on a running platform or one of its own."""

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tandem.deploy.local.run import URL_FILE, nearby, url_of
from tandem.shared.config.api_keys import Role
from tandem.shared.config.settings import Settings, SettingsError, load_or_exit
from tandem.shared.runtime.command_line import take_no_options
from tandem.shared.tasks.registry import load

WAIT = 60  # seconds for one job
SHOWN = 110  # characters of a result
LATER = {"chat", "email"}  # the one is streamed, the other needs the report's file


class DemoFailed(Exception):
    """A job did not succeed; the message is one line."""


def main() -> None:
    settings = load_or_exit()
    try:
        if url := _running(settings):
            print(f"using the platform at {url}\n")
            _demonstrate(settings, url)
        else:
            with _platform(url_of(settings)) as url:
                _demonstrate(settings, url)
    except (DemoFailed, SettingsError, httpx.HTTPError) as error:
        print(f"\ndemo failed: {error}", file=sys.stderr)
        raise SystemExit(1) from None


def _running(settings: Settings) -> str | None:
    """Find the platform of this RUN_DIR, whatever its port, or else one that the settings lead to."""
    recorded = settings.run_dir / URL_FILE
    known = [recorded.read_text().strip()] if recorded.exists() else []
    return next((url for url in [*known, url_of(settings)] if _answers(url)), None)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=2).is_success
    except httpx.HTTPError:
        return False


@contextmanager
def _platform(url: str) -> Iterator[str]:
    """Start a platform, which will be at `url`, and stop it at the end."""
    print("no platform is running: starting one")
    command = [sys.executable, "-m", "tandem.deploy.local.run"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # noqa: S603
    try:
        assert process.stdout  # noqa: S101 - a pipe was asked for
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("ready "):
                break
        else:
            raise DemoFailed("the platform did not start:\n" + "".join(lines[-10:]))
        _drain(process)
        print(f"started at {url}\n")
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _drain(process: "subprocess.Popen[str]") -> None:
    """Keep reading what the platform prints, so that it never blocks on a full pipe."""
    threading.Thread(target=lambda: [None for _ in process.stdout or ()], daemon=True).start()


def _demonstrate(settings: Settings, url: str) -> None:
    key = next((key for key in settings.keys if key.role is Role.ADMIN), None)
    if key is None:
        raise DemoFailed("two of the tasks need a key of role admin")
    folder = settings.run_dir.resolve() / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key.secret}"}, timeout=WAIT + 10) as client:
        started = time.monotonic()
        done = {"chat": _stream(client, "chat")}
        done |= {spec.name: _run(client, spec.name, spec.example) for spec in load() if spec.name not in LATER}
        done["email"] = _run(client, "email", _mail(done["report"]["id"]))
        print(f"\n{len(done)} jobs succeeded in {time.monotonic() - started:.1f} s")
        _save_pdf(client, done["report"], folder / "invoice.pdf")
        _save_mail(settings, done["email"], folder / "mail.eml")


def _mail(report_id: str) -> dict[str, Any]:
    return {
        "to": ["ada@example.com"],
        "subject": "Your invoice",
        "text": "Dear Ada,\n\nplease find your invoice attached.\n\nKind regards\nAcme GmbH\n",
        "attachments": [report_id],
    }


def _stream(client: httpx.Client, task: str) -> dict[str, Any]:
    """Submit a job and print its text as it comes."""
    spec = load()[task]
    answer = client.post(f"/v1/{task}?stream=true", json=spec.example)
    if not answer.is_success:
        raise DemoFailed(f"{task}: {answer.status_code} {answer.text}")
    print(f"{task:<10} {spec.queue:<5} ", end="", flush=True)
    with client.stream("GET", answer.json()["links"]["events"]) as events:
        events.raise_for_status()
        for kind, data in _events(events.iter_lines()):
            if kind == "delta":
                print(data["text"].replace("\n", " "), end="", flush=True)
            if kind == "end":
                print("  (streamed)")
                return _succeeded(data)
    raise DemoFailed(f"{task}: its events ended before the job")


def _events(lines: Iterator[str]) -> Iterator[tuple[str, Any]]:
    """Read server-sent events: their kinds and data."""
    kind = ""
    for line in lines:
        if line.startswith("event:"):
            kind = line.removeprefix("event:").strip()
        elif line.startswith("data:"):
            yield kind, json.loads(line.removeprefix("data:"))


def _run(client: httpx.Client, task: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = client.post(f"/v1/{task}", json=body, headers={"Prefer": f"wait={WAIT}"})
    if not answer.is_success:
        raise DemoFailed(f"{task}: {answer.status_code} {answer.text}")
    job = _succeeded(answer.json())
    print(f"{task:<10} {job['queue']:<5} {_shorten(json.dumps(job['result'], ensure_ascii=False))}")
    return job


def _succeeded(job: dict[str, Any]) -> dict[str, Any]:
    if job["status"] != "succeeded":
        raise DemoFailed(f"{job['task']} is {job['status']}: {json.dumps(job['error'])}")
    return job


def _shorten(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def _save_pdf(client: httpx.Client, job: dict[str, Any], path: Path) -> None:
    answer = client.get(job["links"]["file"])
    answer.raise_for_status()
    path.write_bytes(answer.content)
    print(f"the PDF:  {nearby(path)}")


def _save_mail(settings: Settings, job: dict[str, Any], path: Path) -> None:
    if settings.smtp_url:
        print("the mail: sent through SMTP_URL")
        return
    message_id = job["result"]["message_id"].encode()
    outbox = settings.run_dir.resolve() / "outbox"
    sent = next((mail for mail in outbox.glob("*.eml") if message_id in mail.read_bytes()), None)
    if sent is None:
        raise DemoFailed(f"no mail with {message_id.decode()} in {outbox}")
    shutil.copyfile(sent, path)
    print(f"the mail: {nearby(path)}")


if __name__ == "__main__":
    take_no_options("tandem.deploy.local.demo", __doc__)
    main()
