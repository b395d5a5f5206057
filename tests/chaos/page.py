"""docs/reference/fault-runs.md: a section for each seed, and before them a line for each."""

import re
import subprocess
from collections.abc import Iterator
from importlib.metadata import version

from bench.report import LIBRARIES, commit, machine
from tests.chaos.report import table, wrong
from tests.chaos.row import Row
from tests.support.processes import ROOT

PAGE = ROOT / "docs/reference/fault-runs.md"
OVERVIEW = "<!-- overview: begin -->", "<!-- overview: end -->"
SECTION = re.compile(r"<!-- seed (?P<seed>\d+): begin -->(?P<text>.*?)<!-- seed (?P=seed): end -->", re.DOTALL)
HEAD = [
    "| seed | when | commit | minutes | faults | jobs hit | rows met | not met |",
    "|---|---|---|---|---|---|---|---|",
]
# What a section says of itself.
WHEN, COMMIT = re.compile(r"^(\S+ \S+ UTC), ", re.MULTILINE), re.compile(r"^Commit (\S+);", re.MULTILINE)
MINUTES, FAULTS = re.compile(r": ([\d.]+) minutes\."), re.compile(r"^([\d,]+) faults: ", re.MULTILINE)
HITS = re.compile(r"; ([\d,]+) times a job was hit;")
ROW = re.compile(r"^\| (.+?) +\|.*\| (yes|NO ) \|$", re.MULTILINE)


def publish(summary: str, rows: list[Row], seed: int) -> None:
    """Put a run into the page, in the place of the last one with this seed."""
    system = machine()
    versions = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    about = f"Commit {_commit()}; {system['system']}, Python {system['python']}, {versions}."
    section = "\n\n".join([summary, table(rows), *([wrong(rows, bullet="- ")] if wrong(rows) else []), about])
    PAGE.write_text(with_run(PAGE.read_text(), section, seed))


def with_run(page: str, section: str, seed: int) -> str:
    """Give the page with this section, the sections in the order of their seeds, and all of them in the overview."""
    sections = {int(found["seed"]): found["text"] for found in SECTION.finditer(page)} | {seed: f"\n\n{section}\n\n"}
    head, _, rest = page.partition(OVERVIEW[0])
    about = rest.partition(OVERVIEW[1])[2].partition("\n## Seed ")[0]
    kept = sorted(sections.items())
    lines = [head + OVERVIEW[0], "", *HEAD, *(_line(number, text) for number, text in kept), "", OVERVIEW[1] + about]
    for number, text in kept:
        lines += [f"## Seed {number}", "", f"<!-- seed {number}: begin -->{text}<!-- seed {number}: end -->", ""]
    return "\n".join(lines)


def _line(seed: int, section: str) -> str:
    rows = ROW.findall(section)
    missed = [goal for goal, met in rows if met != "yes"]
    said = [_first(pattern, section) for pattern in (WHEN, COMMIT, MINUTES, FAULTS, HITS)]
    cells = [f"[{seed}](#seed-{seed})", *said, f"{len(rows) - len(missed)} of {len(rows)}", "; ".join(missed) or "none"]
    return f"| {' | '.join(cells)} |"


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found[1] if found else "?"


def _commit() -> str:
    """Name the commit; that this page has new tables does not change what was run."""
    name = commit().removesuffix("-dirty")
    return f"{name}-dirty" if any(_changed()) else name


def _changed() -> Iterator[str]:
    command = ["git", "-c", "safe.directory=*", "status", "--porcelain", "--untracked-files=no"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    page = str(PAGE.relative_to(ROOT))
    return (line for line in done.stdout.splitlines() if not line.endswith(page))
