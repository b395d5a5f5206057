from datetime import timedelta
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from tandem.shared.types.backoff import Backoff

spans = st.floats(0.001, 10_000).map(lambda value: timedelta(seconds=value))
backoffs = st.builds(Backoff, base=spans, cap=spans)
attempts = st.integers(1, 1000)
jitters = st.floats(0, 1)
TICK = timedelta(microseconds=1)  # what rounding may cost


@given(backoffs, attempts, jitters)
def test_a_wait_is_never_above_the_cap_nor_far_below_the_base(backoff: Backoff, attempt: int, jitter: float) -> None:
    wait = backoff.delay(attempt, jitter=jitter)
    assert min(backoff.base, backoff.cap) / 2 - TICK <= wait <= backoff.cap


def test_chance_decides_about_half_of_a_wait() -> None:
    backoff = Backoff(base=timedelta(seconds=2), cap=timedelta(hours=1))
    assert [backoff.delay(3, jitter=jitter).total_seconds() for jitter in (0, 0.5, 1)] == [4, 6, 8]


@given(backoffs, attempts)
def test_a_later_wait_is_never_shorter_under_the_same_jitter(backoff: Backoff, attempt: int) -> None:
    assert backoff.delay(attempt, jitter=0.5) <= backoff.delay(attempt + 1, jitter=0.5)


def test_the_waits_double_until_the_cap() -> None:
    backoff = Backoff(base=timedelta(milliseconds=50), cap=timedelta(milliseconds=300))
    waits = list(islice(backoff.delays(draw=lambda: 1), 5))
    assert [wait / timedelta(milliseconds=1) for wait in waits] == [50, 100, 200, 300, 300]


def test_the_waits_of_two_are_not_the_same() -> None:
    backoff = Backoff(base=timedelta(seconds=1), cap=timedelta(seconds=1))
    assert list(islice(backoff.delays(), 8)) != list(islice(backoff.delays(), 8))
