"""`make profile`: where each process spends its time under load. Stacks and summaries go to bench/profiles/."""

import argparse
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.clients.endpoints import start_gateway
from bench.contenders.contender import Contender
from bench.contenders.everybody import OURS_LLM, OURS_SYNC
from bench.contenders.trial import Trial
from bench.lab.lab import ROOT, Lab, lab
from bench.lab.processes import Running, until
from bench.provider import process as provider

PY_SPY = ROOT / ".venv-peers/bin/py-spy"
PROFILES = ROOT / "bench/profiles"
SECONDS = 8
TOP = 25
OUR_FILES = ("(api/", "(llm_worker/", "(sync_worker/", "(shared/", "(deploy/")


def main() -> None:
    parser = argparse.ArgumentParser(prog="make profile", description=__doc__)
    parser.add_argument("--only", default="", help=f"comma-separated: {', '.join(LOADS)}")
    options = parser.parse_args()
    PROFILES.mkdir(exist_ok=True)
    chosen = [name for name in options.only.split(",") if name] or list(LOADS)
    for name in chosen:
        with tempfile.TemporaryDirectory(prefix="profile-") as folder, lab(Path(folder) / name) as made:
            LOADS[name](made, PROFILES / f"{name}.stacks")
        summary = summarize((PROFILES / f"{name}.stacks").read_text())
        (PROFILES / f"{name}.txt").write_text(summary)
        print(f"\n{name}\n{summary}", flush=True)
    print(f"the stacks are in {PROFILES.relative_to(ROOT)}: speedscope.app and flamegraph.pl read them")


@contextmanager
def recording(process: Running, stacks: Path) -> Iterator[None]:
    """Sample the process and its children while the block puts load on it."""
    command = [str(PY_SPY), "record", "--pid", str(process.popen.pid), "--duration", str(SECONDS), "--rate", "250"]
    command += ["--format", "raw", "--output", str(stacks), "--subprocesses", "--nonblocking"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as sampler:  # noqa: S603
        yield
        _, said = sampler.communicate(timeout=SECONDS + 60)
        if sampler.returncode:
            raise SystemExit(f"py-spy failed (it needs the right to trace processes): {said[-400:]}")


def gateway(made: Lab, stacks: Path) -> None:
    endpoint = start_gateway(made)
    endpoint.load(1)
    with recording(endpoint.process, stacks):
        endpoint.load(SECONDS)


def _worker(made: Lab, contender: Contender, stacks: Path, *, jobs: int, kind: str, **env: str) -> None:
    trial = Trial(made, contender, kind)
    trial.run("fill", jobs=jobs, kind=kind, patience=240)
    (worker,) = trial.workers(1, kind=kind, **env)
    trial.open()
    until(lambda: worker.popen.poll() is None, what="a start")
    with recording(worker, stacks):
        pass


def llm_noop(made: Lab, stacks: Path) -> None:
    _worker(made, OURS_LLM, stacks, jobs=40_000, kind="noop")


def llm_calls(made: Lab, stacks: Path) -> None:
    stub = provider.start(made, delay=1.0, name="profile")
    _worker(made, OURS_LLM, stacks, jobs=4000, kind="ask", **(stub.env | {"TANDEM_LLM_CONCURRENCY": "500"}))


def sync_noop(made: Lab, stacks: Path) -> None:
    _worker(made, OURS_SYNC, stacks, jobs=1500, kind="sync")


def sync_invoice(made: Lab, stacks: Path) -> None:
    files = (made.folder / "files").as_uri()
    _worker(made, OURS_SYNC, stacks, jobs=80, kind="invoice", TANDEM_FILES_URL=files)


LOADS: dict[str, Callable[[Lab, Path], None]] = {
    "gateway": gateway,
    "llm-noop": llm_noop,
    "llm-calls": llm_calls,
    "sync-noop": sync_noop,
    "sync-invoice": sync_invoice,
}


def summarize(stacks: str) -> str:
    """Say what share of the samples was in a function itself, below it, and below a line of ours."""
    own, below, lines = Counter[str](), Counter[str](), Counter[str]()
    total = 0
    for stack in stacks.splitlines():
        frames, _, count = stack.rpartition(" ")
        weight = int(count)
        named = [_short(frame) for frame in frames.split(";") if not frame.startswith("process ")]
        if not named:
            continue
        total += weight
        own[_function(named[-1])] += weight
        below.update(dict.fromkeys({_function(frame) for frame in named}, weight))
        lines.update(dict.fromkeys({frame for frame in named if any(room in frame for room in OUR_FILES)}, weight))
    parts = [("in the function itself", own), ("in it and below", below), ("below a line of ours", lines)]
    return "\n".join(_top(title, counter, total) for title, counter in parts)


def _top(title: str, counter: Counter[str], total: int) -> str:
    rows = [f"  {count / max(total, 1):6.1%}  {name}" for name, count in counter.most_common(TOP)]
    return "\n".join([f"{title} ({total} samples)", *rows])


def _short(frame: str) -> str:
    return frame.replace(f"{ROOT}/", "").rpartition("site-packages/")[2] if "site-packages/" in frame else frame


def _function(frame: str) -> str:
    head, _, line = frame.rpartition(":")
    return f"{head})" if line.rstrip(")").isdigit() else frame


if __name__ == "__main__":
    main()
