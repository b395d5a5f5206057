"""The page of recorded runs: one section a seed, and a line of each before them."""

from tests.chaos.page import OVERVIEW, PAGE, SECTION, with_run
from tests.chaos.report import table
from tests.chaos.row import Row

EMPTY = f"# Runs\n\nWhat they are.\n\n{OVERVIEW[0]}\n{OVERVIEW[1]}\n"


def section(commit: str, *rows: Row) -> str:
    when = "2026-01-02 03:04 UTC, `make chaos SEED=1`, 2 cores, 25 GB: 12.3 minutes."
    done = "253 faults: 7 clock SIGKILL; 1,971 times a job was hit; Redis was away for 77 s."
    return f"{when}\n\n{done}\n\n{table(list(rows))}\n\nCommit {commit}; Linux."


WELL = Row("nothing is lost", "0 lost", [])
FEW = Row("recovery, p99 ≤ 10 s", "2 hits", [], samples=2, least=5)
WRONG = Row("a limit | is kept", "120 %", ["too many"])


def test_each_run_has_a_line_with_what_was_not_met() -> None:
    page = with_run(with_run(EMPTY, section("abc", WELL, FEW), 2), section("def", WELL), 1)
    assert "| [1](#seed-1) | 2026-01-02 03:04 UTC | def | 12.3 | 253 | 1,971 | 1 of 1 | none |" in page
    assert "| [2](#seed-2) | 2026-01-02 03:04 UTC | abc | 12.3 | 253 | 1,971 | 1 of 2 | recovery, p99 ≤ 10 s |" in page
    assert page.index("## Seed 1") < page.index("## Seed 2"), "in the order of seeds"
    assert page.startswith("# Runs\n\nWhat they are.\n\n")


def test_a_run_takes_the_place_of_the_last_one_with_its_seed() -> None:
    page = with_run(with_run(EMPTY, section("abc", WELL, FEW), 1), section("def", WELL), 1)
    assert "abc" not in page
    assert page.count("## Seed 1") == 1
    assert with_run(page, section("def", WELL), 1) == page


def test_what_is_recorded_can_be_read() -> None:
    page = PAGE.read_text()
    for found in SECTION.finditer(page):
        assert with_run(page, found["text"].strip(), int(found["seed"])) == page
    overview = page.partition(OVERVIEW[0])[2].partition(OVERVIEW[1])[0]
    assert overview.count("| [") == len(SECTION.findall(page))
    assert "| ? |" not in overview, "all cells are known"
