"""Goal 7: one-page invoices of 25 rows, a fork per job on either side, the same function in it."""

from pathlib import Path

from bench.contenders.contender import Contender
from bench.contenders.everybody import OURS_SYNC, RQ, RQ_SIMPLE
from bench.contenders.trial import Trial
from bench.lab.lab import Lab, lab
from bench.lab.processes import until
from bench.report.result import Effort, Finding, Result
from bench.report.statistics import Spread, alternating

JOBS = 16
RATIO = 2.5


def measure(effort: Effort) -> Result:
    rates: dict[str, list[float]] = {}
    pages: list[int] = []
    with lab(effort.folder / "invoice") as made:
        for turn, contender in alternating([OURS_SYNC, RQ, RQ_SIMPLE], effort.repeats):
            files = made.folder / f"{contender.name.replace(' ', '-')}-{turn}"
            rate = _rate(made, contender, files, effort.size(JOBS, least=4))
            rates.setdefault(contender.name, []).append(rate)
            pages.append(_pages(files))
            effort.say(f"  {contender.name}: {rate:.2f} invoices/s")
    ours, rq, simple = (Spread(rates[contender.name]) for contender in (OURS_SYNC, RQ, RQ_SIMPLE))
    ratio = ours.median / rq.median
    goal = "7 invoices/s, a fork per job" if set(pages) == {1} else f"7 invoices/s of {set(pages)} pages"
    said = ours.show("", 2)
    return Result(
        [
            Finding(goal, f"≥ {RATIO}× stock RQ", said, f"RQ {rq.show('', 2)}", f"{ratio:.1f}×", ratio >= RATIO),
            Finding(
                "7 invoices/s, others",
                "no fork, no isolation",
                simple.show("", 2),
                RQ_SIMPLE.name,
                _times(ours, simple),
            ),
        ],
        {"rates": rates, "pages": pages},
    )


def _times(ours: Spread, theirs: Spread) -> str:
    return f"{ours.median / theirs.median:.1f}×"


def _rate(made: Lab, contender: Contender, files: Path, jobs: int) -> float:
    """Give jobs a second from the first file to the last: both sides write one for each job."""
    made.flush()
    trial = Trial(made, contender, files.name)
    trial.run("fill", jobs=jobs, kind="invoice")
    (worker,) = trial.workers(1, TANDEM_FILES_URL=files.as_uri())
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
