"""The steps of one attempt, for both pools: known task? valid input? (the pool runs the handler) valid output? decide.

Pure: the pools supply waiting, processes and time, and write the outcome.

No error shows values of the input. What a handler raises as a JobError was written for the job's owner: the job shows
it as it is (it may name a template, a host, a field), the log its type alone. Of any other exception the job shows the
type and a neutral message, and the worker's log has the traceback without the exceptions' messages (`errors.trace`).
"""

import json
from datetime import timedelta
from typing import NoReturn

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError

from tandem.shared.errors import AttemptTimeout, FinalError, TandemError
from tandem.shared.jobs import errors
from tandem.shared.jobs.retry import Decision, Fail, Failure, HandBack, RetryIn
from tandem.shared.tasks.spec import AnySpec, Input

UNKNOWN_FOR = timedelta(minutes=5)  # as long as old and new workers may run beside each other in a rolling deploy
ANOTHER_WORKER = timedelta(seconds=2)  # in which a worker that knows the task may take the job
NO_JSON = ("NaN", "Infinity")  # how pydantic writes numbers that JSON does not have


def unknown_task(task: str, *, known_for: timedelta) -> Decision:
    """Decide on a job whose task this worker does not know; `known_for` is how long ago a worker first said so."""
    if known_for < UNKNOWN_FOR:
        return HandBack(ANOTHER_WORKER)
    return Fail(Failure("unknown_task", f"no worker knows the task {task!r}", retryable=False))


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
        result: str = output.model_dump_json(by_alias=True, warnings="error")
        if any(constant in result for constant in NO_JSON):
            json.loads(result, parse_constant=_refuse)  # it may only be a text that says so
    except (PydanticSerializationError, ValueError, RecursionError):
        message = f"{spec.name} returned a {spec.output.__name__} that is not JSON, or not of its fields' types"
        raise FinalError(message, type="invalid_result") from None
    return result


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def timed_out(task: str, limit: timedelta) -> AttemptTimeout:
    """Say that an attempt took longer than it may."""
    return AttemptTimeout(f"{task} did not end within {limit.total_seconds():g} s")


def report(decision: Decision, error: BaseException) -> str:
    """Say for the log what follows from `error`, and where it was raised if nobody foresaw it."""
    if isinstance(error, TandemError) or not isinstance(decision, RetryIn | Fail):
        return str(decision)
    return f"{decision}\n{errors.trace(error)}"
