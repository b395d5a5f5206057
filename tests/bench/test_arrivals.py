"""What the provider's log tells of limits: the most of any minute, and from when on something holds."""

import pytest

from bench.report.arrivals import at_once, busiest, first, number, settled


def test_the_busiest_minute_is_found_wherever_it_begins() -> None:
    assert busiest([(0, 1), (59, 1), (60, 1), (61, 1), (118, 1), (119.5, 1)]) == 4
    assert busiest([(0, 5), (60, 7)]) == 7


def test_a_stretch_is_half_open() -> None:
    assert number([1.0, 2.0, 2.5, 3.0], 1.0, 3.0) == 3
    assert number([], 1.0, 3.0) == 0


def test_what_holds_at_first_and_what_holds_from_then_on() -> None:
    wrong = {1, 4}
    assert first(lambda moment: round(moment, 1) >= 1.5, 1.0, 3.0) == pytest.approx(1.5)
    assert first(lambda _: False, 1.0, 3.0) is None
    assert settled(lambda moment: int(moment + 1e-6) not in wrong, 0.0, 7.0) == pytest.approx(5.0)
    assert settled(lambda _: True, 2.0, 7.0) == 2.0
    assert settled(lambda moment: moment < 6, 0.0, 7.0) is None


def test_how_many_last_at_the_same_time() -> None:
    spans = [(0.0, 2.0), (1.0, 3.0), (2.0, 4.0)]
    assert at_once(spans, 0.0, 4.0) == 2  # who begins when another one ends is not beside it
    assert at_once(spans, 3.0, 4.0) == 1
    assert at_once([], 0.0, 1.0) == 0
