"""Puts a whole run into docs/performance.md and README.md, each between two comments."""

from pathlib import Path
from typing import Any

from bench.contenders.everybody import DESCRIBED
from bench.lab.lab import ROOT
from bench.report.table import findings, markdown, runs, table, verdict, where

PAGE, README = ROOT / "docs/performance.md", ROOT / "README.md"
PICTURES = {
    "pickup": "Picking up a job",
    "drain": "Throughput",
    "latency": "From a POST to its result",
    "redis-cost": "What a job costs Redis",
    "limiter": "Requests under a limit",
}


def publish(found: dict[str, Any]) -> None:
    replace(PAGE, "bench", [table(found), _versions(found), "", *_pictures(found, ""), ""])
    replace(PAGE, "contenders", ["", contenders(), ""])
    replace(README, "bench", ["", readme(found), "", *_pictures(found, "docs/", "pickup", "drain", "limiter"), ""])


def contenders() -> str:
    """Say how everybody is set up."""
    return markdown(("who", "set up as"), [[one.name, one.settings] for one in DESCRIBED])


def readme(found: dict[str, Any]) -> str:
    """Write the findings that have a headline, won or lost, and which run they come from."""
    rows = [
        [one["headline"], one["measured"], one["peer"], one["ratio"], runs(one), one["wanted"], verdict(one)]
        for one in findings(found)
        if one["headline"]
    ]
    about = found["about"]
    shown = markdown(("", "Tandem", "peer", "ratio", "runs", "goal", "verdict"), rows)
    return (
        f"{shown}\n\nFrom one run of `{about['command']}`: {about['date']}, commit {about['commit']}, {where(about)}."
    )


def _versions(found: dict[str, Any]) -> str:
    about = found["about"]
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    return f"Commit {about['commit']}; {about['machine']['system']}, {versions}."


def _pictures(found: dict[str, Any], folder: str, *names: str) -> list[str]:
    chosen = names or tuple(PICTURES)
    shown = [f"![{PICTURES[name]}]({folder}bench-{name}.png)" for name in chosen if name in found["results"]]
    return ["\n\n".join(shown)]


def replace(page: Path, name: str, lines: list[str]) -> None:
    """Put lines between the comments `name:begin` and `name:end` of a page."""
    opening, closing = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    head, begin, rest = page.read_text().partition(opening)
    _, end, tail = rest.partition(closing)
    if not (begin and end):
        raise ValueError(f"{page} lacks the comments {opening} and {closing}")
    page.write_text("\n".join([head + begin, *lines, end + tail]))
