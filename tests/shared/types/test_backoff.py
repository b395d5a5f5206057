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
def test_a_wait_is_between_half_and_all_of_the_capped_exponential(
    backoff: Backoff, attempt: int, jitter: float
) -> None:
    full = min(backoff.cap, backoff.base * 2 ** min(attempt - 1, 30))
    assert full / 2 - TICK <= backoff.delay(attempt, jitter=jitter) <= full


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
