"""Goal 7: one-page invoices of 25 rows, a fork per job on either side, the same function in it."""

from pathlib import Path

from bench.contenders.contender import Contender
from bench.contenders.everybody import OURS_SYNC, RQ, RQ_PRELOADED, RQ_SIMPLE
from bench.contenders.trial import Trial
from bench.lab.lab import Lab, lab
from bench.lab.processes import until
from bench.report.result import Effort, Finding, Result, beside
from bench.report.statistics import Spread, alternating

JOBS = 12
RATIO = 2.5


def measure(effort: Effort) -> Result:
    rates: dict[str, list[float]] = {}
    pages: list[int] = []
    with lab(effort.folder / "invoice") as made:
        for turn, contender in alternating([OURS_SYNC, RQ, RQ_PRELOADED, RQ_SIMPLE], effort.repeats):
            files = made.folder / f"{contender.name.replace(' ', '-')}-{turn}"
            rate = _rate(made, contender, files, effort.size(JOBS, least=4))
            rates.setdefault(contender.name, []).append(rate)
            pages.append(_pages(files))
            effort.say(f"  {contender.name}: {rate:.2f} invoices/s")
    spreads = {name: Spread(values) for name, values in rates.items()}
    goal = "7 invoices/s, a process each" if set(pages) == {1} else f"7 invoices/s of {set(pages)} pages"
    wanted = f"≥ {RATIO}× stock RQ"
    headline = "one-page invoices a second, a process each"
    rows = [
        _row(goal, spreads, RQ, wanted=wanted, least=RATIO, headline=headline),
        _row(goal, spreads, RQ_PRELOADED, headline=headline),
        _row("7 invoices/s, no process each", spreads, RQ_SIMPLE),
    ]
    return Result(rows, {"rates": rates, "pages": pages})


def _row(
    goal: str,
    rates: dict[str, Spread],
    peer: Contender,
    *,
    wanted: str = "",
    least: float | None = None,
    headline: str = "",
) -> Finding:
    ours, theirs = rates[OURS_SYNC.name], rates[peer.name]
    return beside(
        goal,
        peer.name,
        ours.median / theirs.median,
        ours=ours.show("", 2),
        theirs=theirs.show("", 2),
        runs=ours.runs,
        peer_runs=theirs.runs,
        wanted=wanted,
        least=least,
        headline=headline,
    )


def _rate(made: Lab, contender: Contender, files: Path, jobs: int) -> float:
    """Give jobs a second from the first file to the last: both sides write one for each job."""
    made.flush()
    trial = Trial(made, contender, files.name)
    trial.run("fill", jobs=jobs, kind="invoice")
    (worker,) = trial.workers(1, kind="invoice", TANDEM_FILES_URL=files.as_uri())
    trial.open()
    until(lambda: len(_found(files)) >= jobs, what=f"{jobs} invoices", patience=120, every=0.05)
    worker.end()
    times = sorted(path.stat().st_mtime for path in _found(files))
    return (jobs - 1) / (times[-1] - times[0])


def _found(files: Path) -> list[Path]:
    return list(files.rglob("*.pdf"))


def _pages(files: Path) -> int:
    """Count the pages of one of the files: a wrong template must not pass for a fast one."""
    from pypdf import PdfReader  # noqa: PLC0415 - only here

    return len(PdfReader(_found(files)[0]).pages)
