"""`make llm-stub`: an OpenAI-compatible stand-in for a provider (llmock). Options are llmock's own.

Its address goes to RUN_DIR/llm.url, where workers without a provider look, but not beside a running platform, which has
a stand-in or a provider of its own.
"""

import argparse
import os
import sys
from pathlib import Path

from tandem.deploy.local.lock import holder
from tandem.deploy.local.ports import choose, record
from tandem.shared.config.settings import load_or_exit

EVERYWHERE = ("0.0.0.0", "::")  # where a server that listens there is reached: at 127.0.0.1, too


def main() -> None:
    options = sys.argv[1:]
    # llmock's own command greets with a banner of thirty lines, which is too much among other parts' logs.
    quiet = not sys.stdout.isatty() and not options
    command = ["uvicorn", "llmock.main:app"] if quiet else ["llmock.cli", "serve"]
    address = [] if "--help" in options else _address(options)
    os.execv(sys.executable, [sys.executable, "-m", *command, *address, *options])  # noqa: S606


def _address(options: list[str]) -> list[str]:
    """Choose where to listen, where `options` leave it open, and write it down."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-h", "--host", default="127.0.0.1")
    parser.add_argument("-p", "--port", type=int)
    given, _ = parser.parse_known_args(options)
    run_dir = load_or_exit().run_dir.resolve()
    run_dir.mkdir(parents=True, exist_ok=True)
    recorded = run_dir / "llm.url"
    port = given.port or choose(recorded)
    host = "127.0.0.1" if given.host in EVERYWHERE else given.host
    _write_down(recorded, f"http://{host}:{port}/v1")
    return ["--host", given.host, "--port", str(port), "--log-level", "warning"]


def _write_down(recorded: Path, url: str) -> None:
    if holder(recorded.parent) in {None, os.getppid()}:
        record(recorded, url)
    else:
        print(f"a platform runs in {recorded.parent}, whose llm.url stays as it is; this one is {url}", flush=True)


if __name__ == "__main__":
    main()
