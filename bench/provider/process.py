"""The stub of a provider as a part of a lab, and the bare loop that platforms are compared with."""

import argparse
import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import uvloop

from bench.lab.lab import Lab
from bench.lab.processes import Running
from bench.provider import stub
from bench.provider.stub import Served
from tandem.deploy.local.ports import free_port


@dataclass
class Provider:
    """A running stub: what to set in a caller's environment, and what it saw."""

    process: Running
    port: int
    log: Path
    env: dict[str, str]

    def served(self) -> list[Served]:
        return stub.read(self.log)

    def count(self) -> int:
        return self.log.stat().st_size // stub.LINE.size if self.log.exists() else 0

    def config(self, **models: Mapping[str, int]) -> dict[str, str]:
        """Write a config file in which each model has these limits; gives what names it in an environment."""
        lines = ["[providers.bench]", f'base_url = "{self.env["OPENAI_BASE_URL"]}"']
        for model, limits in models.items():
            lines += [f'[models."{model}"]', *(f"{kind} = {limit}" for kind, limit in limits.items())]
        path = self.log.with_name(f"config-{len(list(self.log.parent.glob('config-*')))}.toml")
        path.write_text("\n".join(lines) + "\n")
        return {"TANDEM_CONFIG": str(path)}


def start(lab: Lab, *, delay: float, name: str, rpm: int = 0, tpm: int = 0, port: int = 0) -> Provider:
    """Start a stub that answers after `delay` seconds; on the port, and with the name, of one that has ended: again."""
    port = port or free_port()
    log = lab.folder / f"{name}.served"
    limits = ["--rpm", rpm, "--tpm", tpm]
    process = lab.python("bench.provider.stub", "--port", port, "--delay", delay, "--log", log, *limits)
    process.until_says("serving")
    env = {"OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1", "OPENAI_API_KEY": "bench"}
    return Provider(process, port, log, env)


async def _bare(calls: int, at_once: int) -> None:
    """Do what one would write without any queue: the SDK, a semaphore and `gather`."""
    from bench.jobs.asking import Asker  # noqa: PLC0415 - the SDK only where it is used

    asker, gate = Asker(), asyncio.Semaphore(at_once)

    async def one() -> None:
        async with gate:
            await asker.ask()

    await asyncio.gather(*(one() for _ in range(calls)))
    print("done", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, required=True)
    parser.add_argument("--at-once", type=int, required=True)
    options = parser.parse_args()
    uvloop.run(_bare(options.calls, options.at_once))


if __name__ == "__main__":
    main()
