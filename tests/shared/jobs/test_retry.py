from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.shared.errors import FinalError, RateLimited, Snooze, StoreUnavailable, TransientError, Unreachable
from tandem.shared.jobs.retry import MAX_THROTTLED, STORE_AWAY, UNFORESEEN, Fail, Failure, HandBack, RetryIn, decide
from tandem.shared.tasks.spec import RetryPolicy

seconds = st.floats(0.001, 10_000).map(lambda value: timedelta(seconds=value))
policies = st.builds(RetryPolicy, max_attempts=st.integers(1, 50), base=seconds, cap=seconds)
attempts = st.integers(1, 1000)
jitters = st.floats(0, 1, exclude_max=True)
errors = st.sampled_from([TransientError("t"), FinalError("f"), ValueError("v"), SystemExit(1), KeyError()])


@pytest.mark.parametrize(
    ("attempt", "least", "most"),
    [(1, 1, 2), (2, 2, 4), (3, 4, 8), (5, 16, 32), (6, 30, 60), (7, 30, 60), (1000, 30, 60)],
)
def test_the_wait_doubles_until_its_cap_and_half_of_it_is_chance(attempt: int, least: int, most: int) -> None:
    policy = RetryPolicy(max_attempts=1001, base=timedelta(seconds=2), cap=timedelta(seconds=60))
    waits = []
    for jitter in (0, 0.5, 1):
        decision = decide(TransientError("t"), policy, attempt=attempt, jitter=jitter)
        assert isinstance(decision, RetryIn)
        waits.append(decision.delay.total_seconds())
    assert waits == [least, (least + most) / 2, most]


@given(errors, policies, attempts, jitters)
def test_never_retried_beyond_the_limit_nor_without_hope(
    error: BaseException, policy: RetryPolicy, attempt: int, jitter: float
) -> None:
    decision = decide(error, policy, attempt=attempt, jitter=jitter)
    hopeless = isinstance(error, FinalError)
    assert isinstance(decision, Fail if hopeless or attempt >= policy.max_attempts else RetryIn)
    assert not isinstance(decision, HandBack)
    assert decision.failure.retryable is not hopeless


@given(policies, attempts, jitters, seconds)
def test_a_retry_waits_at_least_as_long_as_the_server_asks(
    policy: RetryPolicy, attempt: int, jitter: float, asked: timedelta
) -> None:
    decision = decide(TransientError("busy", retry_after=asked), policy, attempt=attempt, jitter=jitter)
    if isinstance(decision, RetryIn):
        assert decision.delay >= asked


def test_a_snooze_burns_no_attempt() -> None:
    delay = timedelta(seconds=3)
    assert decide(Snooze(delay), RetryPolicy(max_attempts=1), attempt=99, jitter=0) == HandBack(delay)


def unreachable(*, down: bool, paid: bool = False) -> Unreachable:
    error = Unreachable("no answer", retry_after=timedelta(seconds=4) if down else None)
    error.down, error.paid = down, paid
    return error


def test_an_outage_of_a_provider_burns_no_attempt() -> None:
    policy = RetryPolicy(max_attempts=1)
    for throttled in (0, MAX_THROTTLED):
        decision = decide(unreachable(down=True), policy, attempt=1, jitter=0, throttled=throttled)
        assert decision == HandBack(timedelta(seconds=4), begun=False)
    assert isinstance(decide(unreachable(down=False), policy, attempt=1, jitter=0), Fail)


def test_a_request_that_may_be_paid_is_not_sent_again_for_ever() -> None:
    policy, error = RetryPolicy(max_attempts=1), unreachable(down=True, paid=True)
    decision = decide(error, policy, attempt=1, jitter=0)
    assert isinstance(decision, HandBack)
    assert decision.throttled
    assert isinstance(decide(error, policy, attempt=1, jitter=0, throttled=MAX_THROTTLED), Fail)


def test_an_outage_of_redis_burns_no_attempt() -> None:
    decision = decide(StoreUnavailable("Redis is away"), RetryPolicy(max_attempts=1), attempt=1, jitter=0)
    assert decision == HandBack(STORE_AWAY)


@given(policies, attempts, st.integers(0, MAX_THROTTLED - 1), jitters, seconds)
def test_a_rate_limit_burns_no_attempt_until_it_has_done_so_often(
    policy: RetryPolicy, attempt: int, throttled: int, jitter: float, asked: timedelta
) -> None:
    error = RateLimited("busy", retry_after=asked)
    decision = decide(error, policy, attempt=attempt, jitter=jitter, throttled=throttled)
    assert isinstance(decision, HandBack)
    assert decision.throttled
    assert decision.delay >= asked
    one_too_many = decide(error, policy, attempt=attempt, jitter=jitter, throttled=MAX_THROTTLED)
    assert isinstance(one_too_many, Fail if attempt >= policy.max_attempts else RetryIn)


@pytest.mark.parametrize(("error", "type_"), [(ValueError("boom"), "ValueError"), (FinalError("x", type="y"), "y")])
def test_the_failure_names_its_type(error: Exception, type_: str) -> None:
    decision = decide(error, RetryPolicy(max_attempts=1), attempt=1, jitter=0)
    assert isinstance(decision, Fail)
    assert decision.failure.type == type_


def test_a_huge_message_is_cut() -> None:
    decision = decide(ValueError("x" * 10_000), RetryPolicy(), attempt=1, jitter=0, own_words=True)
    assert isinstance(decision, RetryIn)
    assert len(decision.failure.message) == 2000


def test_a_message_holds_no_lone_surrogates() -> None:
    """File names that are no UTF-8 have them; neither Redis nor JSON in Lua can hold them."""
    for error, own_words in ((OSError("no \udcff.pdf"), True), (FinalError("no \udcff.pdf"), False)):
        decision = decide(error, RetryPolicy(max_attempts=1), attempt=1, jitter=0, own_words=own_words)
        assert isinstance(decision, Fail)
        assert decision.failure.message.encode().decode() == "no ?.pdf"


def test_what_nobody_foresaw_shows_its_type_and_not_its_words() -> None:
    decision = decide(KeyError("a secret"), RetryPolicy(max_attempts=1), attempt=1, jitter=0)
    assert decision == Fail(Failure("KeyError", UNFORESEEN, retryable=True))
    own = decide(KeyError("a secret"), RetryPolicy(max_attempts=1), attempt=1, jitter=0, own_words=True)
    assert own == Fail(Failure("KeyError", "'a secret'", retryable=True))
    assert "secret" not in str(own), "that is for the log"


def test_an_error_that_can_not_say_what_it_is_is_an_error_like_any_other() -> None:
    """A function of plain RQ may raise what it likes."""

    class Mute(Exception):
        def __str__(self) -> str:
            raise SystemExit

    decision = decide(Mute(), RetryPolicy(max_attempts=1), attempt=1, jitter=0, own_words=True)
    assert decision == Fail(Failure("Mute", "Mute", retryable=True))
