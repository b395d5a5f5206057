"""What follows from an attempt that raised: one pure decision for both pools."""

from dataclasses import dataclass, field
from datetime import timedelta

from tandem.shared.errors import MAX_MESSAGE, JobError, RateLimited, Snooze, StoreUnavailable, Unreachable
from tandem.shared.jobs.errors import trace
from tandem.shared.tasks.spec import RetryPolicy
from tandem.shared.types.backoff import Backoff

UNFORESEEN = "an error that nobody foresaw; the worker's log has its traceback"
MAX_TRACE = 4000  # characters, the end: there is where it was raised
STORE_AWAY = timedelta(seconds=2)
PROVIDER_AWAY = timedelta(seconds=1)  # at least
MAX_THROTTLED = 20  # times that a rate limit, or a request that may be paid, burns no attempt; then it counts


@dataclass(frozen=True)
class Failure:
    """What is recorded of an attempt that failed; admins see the `trace`, where an unforeseen error was raised."""

    type: str
    message: str
    retryable: bool
    trace: str = field(default="", compare=False)

    def __str__(self) -> str:
        """Say its type, for logs: the message was written for the job's owner, and may name what is theirs."""
        return self.type


@dataclass(frozen=True)
class RetryIn:
    """Run again after `delay`."""

    delay: timedelta
    failure: Failure

    def __str__(self) -> str:
        return f"again in {self.delay.total_seconds():.1f} s; {self.failure}"


@dataclass(frozen=True)
class Fail:
    """Give up: the job is failed."""

    failure: Failure

    def __str__(self) -> str:
        return f"for good; {self.failure}"


@dataclass(frozen=True)
class HandBack:
    """Back to the queue, after `delay`, with the attempt given back.

    `throttled`: by a provider's rate limit; `begun`: the job's handler ran, so that it can't expire any more;
    `known`: this worker knows its task.
    """

    delay: timedelta
    throttled: bool = False
    begun: bool = True
    known: bool = True

    def __str__(self) -> str:
        return f"put back for {self.delay.total_seconds():.1f} s"


Decision = RetryIn | Fail | HandBack


def describe(error: BaseException, *, own_words: bool = False) -> Failure:
    """Turn any exception into data. What nobody foresaw may be a passing fault: worth a retry.

    Its message may quote the job's input, so it is shown only with `own_words`, for jobs of plain RQ: theirs does.
    """
    if isinstance(error, JobError):
        return Failure(error.type, _carried(error.message), error.retryable)
    name = type(error).__name__
    message = (_words(error) or name) if own_words else UNFORESEEN
    return Failure(name, _carried(message[:MAX_MESSAGE]), retryable=True, trace=_carried(trace(error)[-MAX_TRACE:]))


def _words(error: BaseException) -> str:
    """Give its own message, empty if it can't say: `__str__` is the job's code, and may raise anything."""
    try:
        return str(error)
    except BaseException:  # noqa: BLE001 - also sys.exit()
        return ""


def _carried(text: str) -> str:
    """Replace lone surrogates, which a file name that is no UTF-8 has: neither JSON in Lua nor UTF-8 can hold them."""
    return text.encode(errors="replace").decode()


def backoff(policy: RetryPolicy, attempt: int, jitter: float) -> timedelta:
    """Wait after attempt number `attempt` (1, 2, …) with `jitter` drawn from [0, 1)."""
    if policy.delays:
        return policy.delays[min(attempt, len(policy.delays)) - 1]
    return Backoff(base=policy.base, cap=policy.cap).delay(attempt, jitter=jitter)


def decide(
    error: BaseException,
    policy: RetryPolicy,
    *,
    attempt: int,
    jitter: float,
    throttled: int = 0,
    own_words: bool = False,
) -> Decision:
    """Decide what follows from `error`, raised by attempt number `attempt` of a job under `policy`.

    `throttled` is how often a rate limit has sent the job back already; `own_words` as in `describe`.
    """
    if isinstance(error, Snooze):
        return HandBack(error.delay, begun=error.begun)
    if isinstance(error, StoreUnavailable):  # an outage of Redis is no fault of the job's
        return HandBack(STORE_AWAY)
    if isinstance(error, Unreachable) and error.down and not error.paid:  # no more is an outage of a provider
        return HandBack(_wait(error, PROVIDER_AWAY), begun=False)
    failure = describe(error, own_words=own_words)
    if _is_throttled(error) and throttled < MAX_THROTTLED:
        return HandBack(_wait(error, backoff(policy, throttled + 1, jitter)), throttled=True)
    if not failure.retryable or attempt >= policy.max_attempts:
        return Fail(failure)
    return RetryIn(_wait(error, backoff(policy, attempt, jitter)), failure)


def _is_throttled(error: BaseException) -> bool:
    return isinstance(error, RateLimited) or (isinstance(error, Unreachable) and error.down)


def _wait(error: BaseException, wait: timedelta) -> timedelta:
    """Not before the time that the error itself names."""
    hint = error.retry_after if isinstance(error, JobError) else None
    return max(wait, hint) if hint else wait
