"""Pictures of bench/results.json, or of another file into another folder.

Drawn in the peers' environment, by `.venv-peers/bin/python bench/report/plots.py [FILE FOLDER]`: as a script, since
this package imports what is not installed there.
"""

import json
import math
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter, NullFormatter

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
OURS, OTHER, EDGE, INK, QUIET = "#2a78d6", "#b9bfc9", "#8b93a1", "#1c2430", "#6b7280"
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "text.color": INK,
    "axes.labelcolor": QUIET,
    "axes.edgecolor": "#d4d8de",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 13,
    "axes.titleweight": "bold",
    "axes.titlepad": 14,
    "xtick.color": QUIET,
    "ytick.color": INK,
    "svg.fonttype": "path",
    "svg.hashsalt": "tandem",
}


def main() -> None:
    source, folder = map(Path, sys.argv[1:3]) if sys.argv[1:] else (ROOT / "bench/results.json", DOCS)
    found = json.loads(source.read_text())
    cores = found["about"]["machine"]["cores"]
    plt.rcParams.update(STYLE)
    for name, draw in PICTURES.items():
        data = found["results"].get(name, {}).get("data", {})
        if figure := draw(data | {"cores": cores}):
            picture = folder / f"bench-{name}.png"
            figure.savefig(picture, dpi=150, bbox_inches="tight", pad_inches=0.25, facecolor="white")
            print(picture)


def percentile(values: list[float], percent: float) -> float:
    ranked = sorted(values)
    return ranked[max(0, math.ceil(percent / 100 * len(ranked)) - 1)]


def colour(name: str) -> str:
    return OURS if name.startswith("Tandem") else OTHER


def pick_up(data: dict[str, Any]) -> Any:
    what = "ms from the client's call to the job's first line, idle worker (dot: median, bar: to p99)"
    return _latencies(data.get("milliseconds"), what, "Picking up a job")


def latency(data: dict[str, Any]) -> Any:
    what = "ms from a request to its job's result, idle platform (dot: median, bar: to p99)"
    return _latencies(data.get("milliseconds"), what, "From a POST to its result")


def _latencies(latencies: dict[str, list[float]] | None, what: str, title: str) -> Any:
    """Draw p50 as a dot and the way to p99 as a line, on a logarithmic scale."""
    if not latencies:
        return None
    names = sorted(latencies, key=lambda name: -percentile(latencies[name], 50))
    figure, axes = plt.subplots(figsize=(8.6, 0.42 * len(names) + 1.1))
    for row, name in enumerate(names):
        p50, p99 = (percentile(latencies[name], percent) for percent in (50, 99))
        tint = OURS if name.startswith("Tandem") else EDGE
        axes.plot([p50, p99], [row, row], color=tint, lw=5, alpha=0.35, solid_capstyle="round")
        axes.plot(p50, row, "o", color=tint, ms=9)
        axes.text(p99 * 1.14, row, f"{p50:.3g} ms  ·  p99 {p99:.3g} ms", va="center", color=QUIET, fontsize=9.5)
    axes.set_xscale("log")
    axes.set_xlim(0.8, 4000)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(what)
    _rows(axes, names)
    axes.grid(axis="x", color="#eef0f3")
    axes.set_axisbelow(True)
    axes.set_title(title)
    return figure


def redis_cost(data: dict[str, Any]) -> Any:
    """Draw Redis's CPU time of a job, and the bytes that a finished one holds."""
    costs = {name: cost for name, cost in data.items() if isinstance(cost, dict)}
    if not costs:
        return None
    names = sorted(costs, key=lambda name: -costs[name]["submit"] - costs[name]["run"])
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.6, 0.42 * len(names) + 1.1), sharey=True)
    for row, name in enumerate(names):
        cost = costs[name]
        left.barh(row, cost["submit"], 0.6, color=colour(name), alpha=0.55)
        left.barh(row, cost["run"], 0.6, left=cost["submit"], color=colour(name))
        total = cost["submit"] + cost["run"]
        left.text(total, row, f"  {total:,.0f} µs", va="center", color=QUIET, fontsize=9)
        right.barh(row, cost["finished"], 0.6, color=colour(name))
        right.text(cost["finished"], row, f"  {cost['finished']:,.0f}", va="center", color=QUIET, fontsize=9)
    for axes, column, label in (
        (left, max(cost["submit"] + cost["run"] for cost in costs.values()), "CPU time (light: submit, full: run)"),
        (right, max(cost["finished"] for cost in costs.values()), "bytes of a finished job"),
    ):
        axes.set_xlim(0, 1.28 * column)
        axes.set_xlabel(label)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        _rows(axes, names)
    left.set_title("What a job costs Redis")
    return figure


def drain(data: dict[str, Any]) -> Any:
    """Draw jobs a second for one worker and for four, a line an engine, labelled at its end."""
    one, four = data.get("one"), data.get("four")
    if not one or not four:
        return None
    names = [name for name in one if name in four]
    names.sort(key=lambda name: -percentile(four[name], 50))
    figure, axes = plt.subplots(figsize=(8.6, 0.5 * len(names) + 1.2))
    for row, name in enumerate(reversed(names)):
        ones, fours = percentile(one[name], 50), percentile(four[name], 50)
        axes.barh(row + 0.19, ones, 0.34, color=colour(name), alpha=0.55)
        axes.barh(row - 0.19, fours, 0.34, color=colour(name))
        for place, value, label in ((0.19, ones, "1 worker"), (-0.19, fours, "4 workers")):
            axes.text(value, row + place, f"  {value:,.0f}  {label}", va="center", color=QUIET, fontsize=8.5)
    _rows(axes, list(reversed(names)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlim(0, 1.22 * max(*map(max, one.values()), *map(max, four.values())))
    axes.set_xlabel("no-op jobs a second, all of them waiting at the start")
    axes.set_title(f"Throughput with one worker and with four ({data['cores']} cores)")
    return figure


def limiter(data: dict[str, Any]) -> Any:
    """Draw what reached the provider in each second, and the limit."""
    found = data.get("RPM")
    if not found:
        return None
    per_second, limit = found["per_second"], found["limit"]
    figure, axes = plt.subplots(figsize=(8.6, 3.0))
    axes.bar(range(len(per_second)), per_second, 1.0, color=OURS, alpha=0.85, lw=0)
    axes.axhline(limit / 60, color="#d1495b", lw=1.6)
    axes.text(len(per_second) * 1.005, limit / 60, f" limit: {limit} RPM", color="#d1495b", va="center", fontsize=9.5)
    axes.set_xlim(0, len(per_second))
    axes.set_ylim(0, limit / 60 * 1.6)
    axes.set_xlabel("seconds")
    axes.set_ylabel("requests a second")
    share = sum(per_second) / (limit / 60 * len(per_second))
    axes.set_title(f"Four processes under one limit: {share:.1%} of it used, by the provider's log")
    return figure


def _rows(axes: Any, names: list[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    for label in axes.get_yticklabels():
        if label.get_text().startswith("Tandem"):
            label.set_fontweight("bold")
            label.set_color(OURS)


PICTURES = {"pickup": pick_up, "drain": drain, "latency": latency, "redis-cost": redis_cost, "limiter": limiter}


if __name__ == "__main__":
    main()
