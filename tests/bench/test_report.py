"""What a run of `make bench` shows: losses too, how many runs, and what could not be measured."""

from datetime import timedelta
from pathlib import Path

import pytest

from bench import __main__ as command
from bench.lab.processes import NotMeasuredError
from bench.measurements import MEASUREMENTS, Measurement
from bench.report import publish
from bench.report.result import Effort, Finding, Result, beside, not_measured
from bench.report.statistics import Latencies, Spread, alternating
from bench.report.table import assemble, table


def run(*findings: Finding) -> dict[str, object]:
    return assemble({"one": Result(list(findings))}, quick=False, only="")


def row(text: str, name: str) -> list[str]:
    [line] = [line for line in text.splitlines() if name in line]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_row_without_a_goal_says_who_is_ahead() -> None:
    won = beside("a", "Peer", 2.0, ours="2", theirs="1", runs=3)
    lost = beside("b", "Peer", 0.5, ours="1", theirs="2", runs=3, peer_runs=1)
    even = beside("c", "Peer", 1.01, ours="1", theirs="1", runs=1, words=("less", "more"))
    shown = table(run(won, lost, even))
    assert row(shown, "| a ")[-3:] == ["2.00×", "3", "faster than Peer"]
    assert row(shown, "| b ")[-3:] == ["0.50×", "3, peer 1", "slower than Peer"]
    assert row(shown, "| c ")[-1] == "as Peer"


def test_a_goal_is_met_or_not() -> None:
    met = beside("a", "Peer", 2.0, ours="2", theirs="1", runs=3, wanted="≥ 2×", least=2)
    missed = beside("b", "Peer", 1.99, ours="2", theirs="1", runs=3, wanted="≥ 2×", least=2)
    shown = table(run(met, missed, not_measured("c", "≥ 2×", "no answer")))
    assert row(shown, "| a ")[-1] == "yes"
    assert row(shown, "| b ")[-1] == "NO"
    assert row(shown, "| c ")[2:] == ["not measured: no answer", "", "", "0", ""]


def test_the_readme_shows_headlines_won_or_lost_and_their_commit() -> None:
    lost = beside("a", "Peer", 0.5, ours="1", theirs="2", runs=3, wanted="≥ 1×", least=1, headline="throughput")
    found = run(lost, Finding("b", "", "not in README"))
    shown = publish.readme(found)
    assert row(shown, "throughput")[-1] == "NO"
    assert "not in README" not in shown
    assert f"commit {found['about']['commit']}" in shown  # type: ignore[index]


def test_a_block_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- bench:begin -->\nold\n<!-- bench:end -->\nafter\n")
    for _ in range(2):
        publish.replace(page, "bench", ["", "new", ""])
        assert page.read_text() == "before\n<!-- bench:begin -->\n\nnew\n\n<!-- bench:end -->\nafter\n"
    with pytest.raises(ValueError, match="lacks the comments"):
        publish.replace(page, "other", ["new"])


def test_the_pages_have_their_blocks() -> None:
    assert "<!-- contenders:begin -->\n\n" + publish.contenders() in publish.PAGE.read_text()
    for page in (publish.PAGE, publish.README):
        assert page.read_text().count("<!-- bench:begin -->") == page.read_text().count("<!-- bench:end -->") == 1


def test_a_hanging_measurement_is_given_up_and_what_it_opened_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = tmp_path / "bench_hangs_here.py"
    hanging.write_text(
        "import pathlib, time\n"
        "def measure(effort):\n"
        "    try:\n        time.sleep(600)\n"
        f"    finally:\n        pathlib.Path({str(tmp_path / 'closed')!r}).touch()\n"
    )
    monkeypatch.setattr("bench.measurements.__path__", [str(tmp_path)])
    monkeypatch.setitem(MEASUREMENTS, "hangs", Measurement(hanging.stem, "nothing", timedelta(milliseconds=200)))
    result = command.measure("hangs", Effort(1, 0.1, tmp_path, lambda _: None))
    assert [finding.measured for finding in result.findings] == [
        "not measured: it was not done after 0.00333333 minutes"
    ]
    assert (tmp_path / "closed").exists()


def test_figures_tell_their_spread() -> None:
    assert Spread([3.0, 1.0, 2.0]).show("s", 1) == "2.0 (1.0–3.0) s"
    assert Spread([3.0]).show("s", 1) == "3.0 s"
    assert Latencies([[1.0, 2.0, 9.0], [3.0, 4.0, 5.0]]).show(50) == "p50 3.0 (2.0–4.0) ms"
    with pytest.raises(NotMeasuredError):
        Latencies([]).at(50)


def test_nobody_always_comes_first() -> None:
    assert alternating(["a", "b"], 3) == [(0, "a"), (0, "b"), (1, "b"), (1, "a"), (2, "a"), (2, "b")]
