"""`make run`: the whole platform on this machine."""

import asyncio
import base64
import errno
import os
import secrets
import shutil
import signal
import socket
import sys
from pathlib import Path

from tandem.deploy.local.lock import take
from tandem.deploy.local.parts import parts
from tandem.deploy.local.ports import record
from tandem.deploy.local.supervisor import STOPPED, StartFailed, Supervisor
from tandem.shared.config.api_keys import make_key_files, make_secret_file
from tandem.shared.config.settings import BAD_SETTING, WEBHOOK_SECRET_FILE, Settings, SettingsError, load_or_exit
from tandem.shared.runtime.command_line import take_no_options

EXAMPLE = Path(__file__).parent / "alembic"
URL_FILE = "api.url"  # under RUN_DIR, while a platform runs: for `make demo`


class Blocked(Exception):
    """The platform can't start; the message is one line."""


def prepare(settings: Settings) -> None:
    """Make RUN_DIR: keys, and the example that `migrate` runs on.

    Raises:
        Blocked: another platform runs here, or a port is taken.
        SettingsError: this machine can't listen on HOST.

    """
    run_dir = settings.run_dir.resolve()
    run_dir.mkdir(parents=True, exist_ok=True)
    if not take(run_dir):  # two platforms on one folder would share a data file
        raise Blocked(f"a platform already runs in {run_dir}; set RUN_DIR, PORT and DASHBOARD_PORT for another")
    for name, port in (("PORT", settings.port), ("DASHBOARD_PORT", settings.dashboard_port)):
        _check_place(settings.host, name, port)
    make_local_files(settings)


def make_local_files(settings: Settings) -> None:
    """Make what parts started singly need as well."""
    run_dir = settings.run_dir.resolve()
    run_dir.mkdir(parents=True, exist_ok=True)
    if not settings.has_keys:
        make_key_files(run_dir)
    if not settings.webhook_secret:
        make_secret_file(run_dir / WEBHOOK_SECRET_FILE, "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode())
    if not settings.database_url and not settings.alembic and not (run_dir / "alembic").exists():
        shutil.copytree(EXAMPLE, run_dir / "alembic", ignore=shutil.ignore_patterns("__pycache__"))


def _check_place(host: str, name: str, port: int) -> None:
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Blocked(f"{name}={port} is in use on {host}; stop what listens there or set {name}") from None
        raise SettingsError(f"HOST={host!r}, {name}={port}: can't listen there: {error.strerror}") from None


def nearby(path: Path) -> Path:
    """Shorten a path under the working directory, for a terminal."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def url_of(settings: Settings) -> str:
    """Give the gateway's address as these settings have it."""
    return f"http://{settings.host}:{settings.port}"


def welcome(settings: Settings) -> str:
    """Say where everything is, and give a line to paste."""
    url = url_of(settings)
    folder = nearby(settings.run_dir.resolve())
    key = f"$(cat {folder}/user.key)" if not settings.has_keys else "YOUR-KEY"
    keys = f"{folder}/user.key, {folder}/admin.key" if not settings.has_keys else "as declared in the settings"
    if not settings.has_keys and settings.config and any(key.role for key in settings.config.keys.values()):
        keys += ", and those of TANDEM_CONFIG"
    lines = [
        f"ready {url}",
        f"  API docs   {url}/docs",
        f"  dashboard  http://{settings.host}:{settings.dashboard_port}  (password: the admin key)",
        f"  keys       {keys}",
        *([] if settings.has_provider else ["  LLM        a stand-in, which makes its answers up; set OPENAI_API_KEY"]),
        *([f"  mails      {folder}/outbox"] if not settings.smtp_url else []),
        "  try it:",
        f"  curl -s {url}/v1/chat -H \"Authorization: Bearer {key}\" -H 'Prefer: wait=30' \\",
        '    -H \'Content-Type: application/json\' -d \'{"messages": [{"role": "user", "content": "Say hello."}]}\'',
    ]
    return "\n".join(lines)


async def supervise(settings: Settings) -> int:
    """Run until SIGINT or SIGTERM. The exit code: 0, or 1 if not everything came up."""
    supervisor = Supervisor(parts(settings), grace=settings.grace.total_seconds())
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, supervisor.stopping.set)
    recorded = settings.run_dir.resolve() / URL_FILE
    code = 0
    try:
        await supervisor.start()
        record(recorded, url_of(settings))
        supervisor.say(welcome(settings))
        await supervisor.stopping.wait()
        supervisor.say("stopping; running jobs may end first")
    except StartFailed as error:
        code = 0 if str(error) == STOPPED else 1
        supervisor.say(f"not started: {error}")
    finally:
        recorded.unlink(missing_ok=True)
        await supervisor.stop()
    return code


def main() -> None:
    settings = load_or_exit()
    os.environ["RUN_DIR"] = str(settings.run_dir.resolve())
    if settings.log_format == "auto":  # the parts write to a pipe, but somebody reads along
        os.environ["TANDEM_LOG_FORMAT"] = "console"
    try:
        prepare(settings)
    except Blocked as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(1) from None
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(BAD_SETTING) from None
    raise SystemExit(asyncio.run(supervise(settings)))


if __name__ == "__main__":
    take_no_options("tandem.deploy.local.run", __doc__)
    main()
