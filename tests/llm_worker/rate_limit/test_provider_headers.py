"""What a provider's headers say of its limits, the clock in the test's hand."""

from collections.abc import Iterator

import pytest

from tandem.shared.runtime.redis_client import client
from tests.support.limits.limiter_script import SECOND, Clocked, scope


@pytest.fixture
def clocked(valkey: str) -> Iterator[Clocked]:
    with client(valkey) as connection:
        yield Clocked(connection)


def test_what_the_provider_says_is_left_lowers_the_bucket(clocked: Clocked) -> None:
    limit = scope(rpm=600, tpm=60_000)
    clocked.warm(limit)
    clocked.acquire(limit, "a", 100)
    clocked.settle("a", 100, rpm=(600, 0))  # others have used the rest
    clocked.now += 60_000
    state, delay = clocked.acquire(limit, "b", 100)
    assert state == 1
    assert delay == pytest.approx(0.04 * SECOND, abs=1000)
    clocked.settle("b", 100, tpm=(60_000, 50))
    came = clocked.now
    while (answer := clocked.acquire(limit, "c", 30_000, waited=clocked.now - came))[0] == 0:
        assert answer[2] == "p tpm"
        clocked.now += answer[1]
    assert clocked.now + answer[1] - came == pytest.approx(29.5 * SECOND, rel=0.05)


def test_what_a_provider_said_once_is_forgotten(clocked: Clocked) -> None:
    limit = scope(rpm=600)
    clocked.acquire(limit, "told")
    clocked.settle("told", 1, rpm=(1, 0))  # one a minute, and no word of it ever after
    came = clocked.now
    while clocked.acquire(limit, "next", waited=clocked.now - came)[0] == 0:
        clocked.now += SECOND // 2
    assert clocked.now - came == pytest.approx(60 * SECOND, abs=SECOND)
    clocked.settle("next", 1)
    clocked.now += 61 * SECOND
    for n in range(100):
        assert clocked.acquire(limit, f"later{n}") == [1, 0]
        clocked.settle(f"later{n}", 1)
        clocked.now += SECOND // 10
