"""Ends of an attempt that would tell what its input holds: exceptions and results made of a secret."""

from collections.abc import Callable
from typing import Any

from tests.support.tasks.specs import Counted, Told

NOTHING: dict[str, object] = {}


def mistyped(secret: str) -> object:
    text: Any = [secret]
    return Told.model_construct(done="", text=text)


def convert(secret: str) -> object:
    return int(secret)


def look_up(secret: str) -> object:
    return NOTHING[secret]


def chain(secret: str) -> object:
    try:
        return int(secret)
    except ValueError as error:
        raise RuntimeError(f"no number: {secret}") from error


def group(secret: str) -> object:
    raise ExceptionGroup(secret, [ValueError(secret), ExceptionGroup(secret, [KeyError(secret)])])


def leave(secret: str) -> object:
    raise SystemExit(secret)


RAISES: dict[str, tuple[Callable[[str], object], str]] = {
    "convert": (convert, "ValueError"),
    "look up": (look_up, "KeyError"),
    "chain": (chain, "RuntimeError"),
    "group": (group, "ExceptionGroup"),
    "leave": (leave, "SystemExit"),
}
RETURNS: dict[str, Callable[[str], Any]] = {
    "nothing": lambda _: None,
    "text": lambda secret: secret,
    "another output": lambda secret: Counted(number=len(secret)),
    "a field's type": mistyped,
    "not a number": lambda secret: Told(done=[secret, float("nan")]),
    "endless": lambda secret: Told(done={secret: float("-inf")}),
    "no UTF-8": lambda secret: Told(done=secret + "\ud800"),
    "an object": lambda secret: Told(done=[secret, object()]),
}


def end(how: str, secret: str) -> Any:
    """Raise or return what `how` says."""
    return RAISES[how][0](secret) if how in RAISES else RETURNS[how](secret)
