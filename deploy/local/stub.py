"""`make llm-stub`: an OpenAI-compatible stand-in for a provider (llmock). Options are llmock's own."""

import os
import sys

from tandem.deploy.local.ports import choose, record
from tandem.shared.config.settings import load_or_exit


def main() -> None:
    run_dir = load_or_exit().run_dir.resolve()
    run_dir.mkdir(parents=True, exist_ok=True)
    recorded = run_dir / "llm.url"
    port = choose(recorded)
    record(recorded, f"http://127.0.0.1:{port}/v1")
    address = ["--host", "127.0.0.1", "--port", str(port), "--log-level", "warning"]
    # llmock's own command greets with a banner of thirty lines, which is too much among other parts' logs.
    quiet = not sys.stdout.isatty() and not sys.argv[1:]
    command = ["uvicorn", "llmock.main:app"] if quiet else ["llmock.cli", "serve", *sys.argv[1:]]
    os.execv(sys.executable, [sys.executable, "-m", *command, *address])  # noqa: S606


if __name__ == "__main__":
    main()
