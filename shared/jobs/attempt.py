"""The steps of one attempt, for both pools: known task? valid input? (the pool runs the handler) valid output? decide.

Pure: the pools supply waiting, processes and time, and write the outcome.

No error shows values of the input. What a handler raises as a JobError was written for the job's owner: the job shows
it as it is (it may name a template, a host, a field), the log its type alone. Of any other exception the job shows the
type and a neutral message, and the worker's log has the traceback without the exceptions' messages (`errors.trace`).
"""

import logging
from datetime import timedelta

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError, from_json

from tandem.shared.errors import AttemptTimeout, FinalError, Snooze, StoreUnavailable, TandemError, Unreachable
from tandem.shared.jobs import errors
from tandem.shared.jobs.encoding import encode
from tandem.shared.jobs.retry import Decision, Fail, Failure, HandBack
from tandem.shared.tasks.spec import AnySpec, Input

UNKNOWN_FOR = timedelta(minutes=5)  # as long as old and new workers may run beside each other in a rolling deploy
ANOTHER_WORKER = timedelta(seconds=2)  # in which a worker that knows the task may take the job
NO_JSON = ("NaN", "Infinity")  # how numbers are written that JSON does not have
LONE_SURROGATE = "\\ud"  # how the beginning of one is written; pairs begin alike
MAX_DEPTH = 200  # of a result: what from_json takes, and less than what can be shown within a job, a list, a webhook


def unknown_task(task: str, *, known_for: timedelta) -> Decision:
    """Decide on a job whose task this worker does not know; `known_for` is how long ago a worker first said so."""
    if known_for < UNKNOWN_FOR:
        return HandBack(ANOTHER_WORKER, begun=False, known=False)
    return Fail(Failure("unknown_task", f"no worker knows the task {task!r}", retryable=False))


def unreadable(problem: str) -> Decision:
    """Decide on a lease that can't be read, because of `problem`: another attempt would find the same."""
    return Fail(Failure("unreadable_record", problem, retryable=False))


def check_input(spec: AnySpec, payload: str) -> Input:
    """Read a job's input.

    Raises:
        FinalError: type `invalid_input`.

    """
    try:
        checked: Input = spec.input.model_validate_json(payload)
    except ValidationError as error:
        raise FinalError(errors.explain(error, spec.input), type="invalid_input") from None
    return checked


def check_output(spec: AnySpec, output: object) -> str:
    """Turn what a handler returned into the job's result, JSON.

    Raises:
        FinalError: type `invalid_result`: it is of another type than the task's output, or not JSON.

    """
    if not isinstance(output, spec.output):
        message = f"{spec.name} returned {type(output).__name__}, not {spec.output.__name__}"
        raise FinalError(message, type="invalid_result")
    try:
        return encode(output, _encode_one)
    except (PydanticSerializationError, ValueError, RecursionError):
        message = f"{spec.name} returned a {spec.output.__name__} that is not JSON, or not of its fields' types"
        raise FinalError(message, type="invalid_result") from None


def _encode_one(output: BaseModel) -> str:
    result = output.model_dump_json(by_alias=True, warnings="error")
    check_json(result)
    return result


def check_json(result: str) -> None:
    """Raise ValueError if a result could be stored, but never shown: no number, half a character, too deeply nested."""
    signs = (*NO_JSON, LONE_SURROGATE)
    if any(sign in result for sign in signs) or result.count("[") + result.count("{") > MAX_DEPTH:
        from_json(result, allow_inf_nan=False)  # only now, as it takes its time: a text may say so too


def timed_out(task: str, limit: timedelta) -> AttemptTimeout:
    """Say that an attempt took longer than it may."""
    return AttemptTimeout(f"{task} did not end within {limit.total_seconds():g} s")


def report(decision: Decision, error: BaseException, *, attempt: int) -> tuple[int, str]:
    """Give level and text for the log: what follows from `error`, and where it was raised if nobody foresaw it.

    What burns no attempt is no failure: there may be one a job every few seconds while a provider is down.
    """
    if isinstance(decision, HandBack):
        why = _why(error)
        return logging.INFO, f"{decision}{why and f': {why}'}; no attempt burnt"
    failed = f"attempt {attempt} failed, {decision}"
    return logging.WARNING, failed if isinstance(error, TandemError) else f"{failed}\n{errors.trace(error)}"


def _why(error: BaseException) -> str:
    match error:
        case Snooze():
            return error.why
        case StoreUnavailable():
            return "Redis is away"
        case Unreachable(service=str(name)) if name:
            return f"{name} takes no requests ({'no connection' if error.refused else error.type})"
        case TandemError():
            return error.type
    return type(error).__name__
