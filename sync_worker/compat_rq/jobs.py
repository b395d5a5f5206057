"""Jobs of plain RQ, as `rq.Queue(…, serializer="json").enqueue("module.function", …)` writes them.

A job in Redis is code: its function's name is imported and called. So only functions of the modules that
TANDEM_RQ_IMPORTS names are called, and nothing else that such a job may name (callbacks, methods) is looked at.
"""

import importlib
import json
import re
import zlib
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, NoReturn, Self

from pydantic import BaseModel, Field

from tandem.shared.errors import FinalError
from tandem.shared.jobs.attempt import check_json
from tandem.shared.tasks.spec import RetryPolicy

DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", re.ASCII)
CALLBACKS = ("success_callback_name", "failure_callback_name", "stopped_callback_name")
DEFAULT_TIMEOUT = 180  # seconds, RQ's own
UNLIMITED = timedelta(days=1)  # for a job without a limit
LONGEST = timedelta(days=365).total_seconds()  # of a job, or between two of its attempts
MOST_ATTEMPTS = 1_000_000
LARGEST = 16 * 1024 * 1024  # bytes of a job's arguments, unpacked


class Refused(ValueError):
    """A job that may not run here; the message says why."""


class RqCall(BaseModel):
    """A call to make; `delays` are the waits between its attempts in seconds, the last one for all further ones."""

    function: str
    positional: list[Any] = []
    named: dict[str, Any] = {}
    timeout: float = Field(default=DEFAULT_TIMEOUT, gt=0, le=LONGEST)
    max_attempts: int = Field(default=1, ge=1, le=MOST_ATTEMPTS)
    delays: list[Annotated[float, Field(ge=0, le=LONGEST)]] = []

    @classmethod
    def read(cls, fields: Mapping[bytes, bytes], allowed: Sequence[str]) -> Self:
        """Read RQ's hash of a job.

        Raises:
            Refused: it is not JSON, or names what is not allowed.

        """
        function, instance, positional, named = _decode(fields.get(b"data", b""))
        if instance is not None or not isinstance(function, str) or not DOTTED.fullmatch(function):
            raise Refused("only functions of modules are called, by their dotted name")
        if not is_allowed(function, allowed):
            raise Refused(f"{function} is not under TANDEM_RQ_IMPORTS")
        if any(fields.get(name.encode()) for name in CALLBACKS):
            raise Refused("callbacks are not called")
        retries = int(fields.get(b"retries_left") or 0)
        timeout = float(fields.get(b"timeout") or DEFAULT_TIMEOUT)
        return cls(
            function=function,
            positional=list(positional),
            named=dict(named),
            timeout=timeout if timeout > 0 else UNLIMITED.total_seconds(),
            max_attempts=max(retries, 0) + 1,
            delays=json.loads(fields.get(b"retry_intervals") or b"[]") or ([0] if retries else []),
        )

    @property
    def policy(self) -> RetryPolicy:
        return RetryPolicy(
            max_attempts=self.max_attempts, delays=tuple(timedelta(seconds=delay) for delay in self.delays)
        )

    def run(self, allowed: Sequence[str]) -> str:
        """Call the function; gives its result as JSON.

        Raises:
            FinalError: there is no such function, it is another module's, or its result is not JSON.

        """
        result = self._find(allowed)(*self.positional, **self.named)
        try:
            text = json.dumps(result, allow_nan=False)
            check_json(text)
        except (TypeError, ValueError, RecursionError) as error:
            raise FinalError(f"the result is not JSON: {error}", type="invalid_result") from None
        return text

    def _find(self, allowed: Sequence[str]) -> Callable[..., Any]:
        module, _, name = self.function.rpartition(".")
        try:
            found = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise FinalError(f"{self.function} can't be imported: {error}", type="unknown_function") from None
        # A module may hold another one's functions by import: where it was defined is what counts.
        home = f"{getattr(found, '__module__', '')}.{getattr(found, '__name__', name)}"
        if not callable(found) or not is_allowed(home, allowed):
            raise FinalError(f"{self.function} is not a function under TANDEM_RQ_IMPORTS", type="unknown_function")
        function: Callable[..., Any] = found
        return function


def is_allowed(name: str, allowed: Sequence[str]) -> bool:
    """Tell whether a dotted name is one of the prefixes or under one."""
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in allowed)


def rq_result(result: str, *, good: bool) -> dict[str, str | int | bytes]:
    """Give the entry of RQ's stream of results (`rq.results.Result.serialize`), for `Job.return_value()`."""
    if good:
        return {"type": 1, "return_value": b64encode(result.encode())}
    return {"type": 2, "exc_string": b64encode(zlib.compress(result.encode()))}


def _decode(data: bytes) -> tuple[Any, Any, Sequence[Any], Mapping[str, Any]]:
    try:
        unpacker = zlib.decompressobj()
        text = unpacker.decompress(data, LARGEST)
        if unpacker.unconsumed_tail:
            raise Refused("its arguments are too large")
    except zlib.error:
        text = data
    try:
        function, instance, args, kwargs = json.loads(text, parse_constant=_refuse)
    except (ValueError, TypeError, RecursionError):
        raise Refused('it is not JSON: enqueue it with serializer="json"') from None
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        raise Refused("its arguments are not a list and a dictionary")
    return function, instance, args, kwargs


def _refuse(constant: str) -> NoReturn:
    """JSON has no NaN and no infinity; they could not be kept as they are."""
    raise ValueError(constant)
