"""The table of findings, as Markdown: for the terminal, for docs/performance.md and for README.md."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from bench.report import environment
from bench.report.result import Result

COLUMNS = ("goal", "wanted", "measured", "peer", "ratio", "runs", "verdict")
MET = {True: "yes", False: "NO", None: ""}


def assemble(results: dict[str, Result], *, quick: bool, only: str) -> dict[str, Any]:
    """Give what results.json holds."""
    return {
        "about": {
            "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "command": "make bench" + (f" ONLY={only}" if only else "") + (" QUICK=1" if quick else ""),
            "quick": quick,
            "commit": environment.commit(),
            "machine": environment.machine(),
            "versions": environment.versions(),
        },
        "results": {name: result.as_json() for name, result in results.items()},
    }


def findings(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [finding for result in found["results"].values() for finding in result["findings"]]


def table(found: dict[str, Any]) -> str:
    """Write all findings as a table, which a terminal shows as well."""
    about = found["about"]
    warning = ["**Tiny sizes: these figures mean nothing.**", ""] if about["quick"] else []
    rows = [[_cell(finding, column) for column in COLUMNS] for finding in findings(found)]
    head = f"{about['date']}, `{about['command']}`, {where(about)}"
    return "\n".join(["", head, "", *warning, markdown(COLUMNS, rows), ""])


def where(about: dict[str, Any]) -> str:
    machine = about["machine"]
    return f"{machine['cores']} cores, {machine['cpu']}, {machine['memory_gb']} GB"


def markdown(columns: Sequence[str], rows: list[list[str]]) -> str:
    every = [list(columns), *rows]
    widths = [max(len(row[place]) for row in every) for place in range(len(columns))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in every
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def verdict(finding: dict[str, Any]) -> str:
    return MET[finding["met"]] or str(finding["versus"])


def runs(finding: dict[str, Any]) -> str:
    own, peer = finding["runs"], finding["peer_runs"]
    return f"{own}, peer {peer}" if peer not in {0, own} else str(own)


def _cell(finding: dict[str, Any], column: str) -> str:
    shown = {"verdict": verdict, "runs": runs}
    value = shown[column](finding) if column in shown else finding[column]
    return str(value).replace("|", "·").replace("\n", " ")
