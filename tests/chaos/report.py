"""The table of a run, for the terminal and for the page (`page.py`)."""

from collections import Counter
from datetime import UTC, datetime

from bench.report import machine
from tests.chaos.judge.evidence import Facts
from tests.chaos.row import Row

SHOWN = 5  # of what is wrong with one goal


def table(rows: list[Row]) -> str:
    """Write the rows as a Markdown table, which a terminal shows as well, and below it what was not counted."""
    cells = [["goal", "measured", "samples", "met"], *(_cells(row) for row in rows)]
    widths = [max(len(line[place]) for line in cells) for place in range(4)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    apart = [f"- {row.goal}: {row.apart}" for row in rows if row.apart]
    return "\n".join([*lines, *(["", "Not counted:", "", *apart] if apart else [])])


def _cells(row: Row) -> list[str]:
    samples = f"{row.samples:,}" if row.enough else f"{row.samples:,} < {row.least:,}"
    return [row.goal, row.measured, samples, "yes" if row.met else "NO"]


def wrong(rows: list[Row], *, bullet: str = "") -> str:
    """List what is wrong, a few lines for each goal."""
    lines = []
    for row in rows:
        lines += [f"{row.goal}: {fault}" for fault in row.wrong[:SHOWN]]
        if (more := len(row.wrong) - SHOWN) > 0:
            lines.append(f"{row.goal}: and {more} more")
    return "\n".join(bullet + line for line in lines)


def summary(facts: Facts, *, command: str, seconds: float) -> str:
    """Say what was run where, and what was done to it."""
    system = machine()
    counts = Counter(f"{deed.role} {deed.kind}" for deed in facts.deeds)
    done = ", ".join(f"{n} {what}" for what, n in sorted(counts.items()))
    hits = sum(len(case.hits) for case in facts.cases)
    waits = [deed.waited for deed in facts.deeds if deed.waited >= 1]
    where = f"{system['cores']} cores, {system['cpu']}, {system['memory_gb']} GB"
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M UTC}, `{command}`, {where}: {seconds / 60:.1f} minutes.\n\n"
        f"{sum(counts.values())} faults: {done}; {hits:,} times a job was hit; "
        f"Redis was away for {facts.outages.seconds:.0f} s. "
        f"{len(waits)} faults waited until enough others of their pool were at work, {sum(waits):.0f} s in all."
    )
