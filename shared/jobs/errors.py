"""What may be shown of an error: where and of what kind it was, never what the job's input held."""

import logging
import re
import threading
import traceback
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic_core import ErrorDetails
from pydantic_core.core_schema import ErrorType

log = logging.getLogger("tandem.jobs")

KNOWN = frozenset(get_args(ErrorType))
WRITTEN_BY_VALIDATORS = frozenset({"value_error", "assertion_error"})
# What pydantic's messages are made of where they tell of the model; anything else may quote the input.
OF_THE_MODEL = frozenset(
    {
        *("gt", "ge", "lt", "le", "multiple_of", "pattern", "expected", "discriminator", "class", "class_name"),
        *("field_type", "min_length", "max_length", "actual_length", "max_digits", "decimal_places", "whole_digits"),
        *("expected_schemes", "expected_version", "encoding"),
    }
)
FIELD = re.compile(r"[A-Za-z_]\w{0,39}", re.ASCII)
HIDDEN = "*"  # a key of a mapping: data, and no field
MOST_CHAINED = 10  # exceptions that led to one another
MOST_FRAMES = 30  # of each


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """Say which fields of `model` are wrong and why, one after the other, without what they hold.

    A field's name is shown, also one that the model does not know; a key of a mapping is not. A message is pydantic's
    own where it is made of the model alone; what quotes the input, or was written by a validator, is replaced.
    """
    declared = frozenset(_declared(model))
    faults = error.errors(include_input=False, include_url=False)
    return "; ".join(f"{_place(fault, declared) or 'the input'}: {_message(fault)}" for fault in faults)


def _place(fault: ErrorDetails, declared: frozenset[str]) -> str:
    *path, last = [_part(part, declared) for part in fault["loc"]] or [""]
    unknown = fault["loc"][-1] if fault["type"] == "extra_forbidden" else None
    if isinstance(unknown, str) and FIELD.fullmatch(unknown):
        last = unknown
    return ".".join([*path, last])


def _part(part: int | str, declared: frozenset[str]) -> str:
    return str(part) if isinstance(part, int) or part in declared else HIDDEN


def _message(fault: ErrorDetails) -> str:
    if fault["type"] not in KNOWN:
        return "it is not valid"
    if fault["type"] in WRITTEN_BY_VALIDATORS or not OF_THE_MODEL.issuperset(fault.get("ctx", {})):
        return f"it is not valid ({fault['type']})"
    return fault["msg"]


def _declared(model: type[BaseModel]) -> Iterator[str]:
    """Find the names of all fields, also of models within."""
    yield from model.model_fields
    try:
        waiting: list[Any] = [model.model_json_schema()]
    except PydanticInvalidForJsonSchema:
        return
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            properties = node.get("properties")
            yield from properties if isinstance(properties, dict) else ()
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node


def trace(error: BaseException) -> str:
    """Give the frames of an exception and of those that it came from: file, line, function and source line.

    The exceptions' own messages are left out, as they may quote the input: `KeyError: 'Ann'`.
    """
    shown: list[str] = []
    waiting, seen = [error], set[int]()
    while waiting and len(shown) < MOST_CHAINED:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        frames = "".join(traceback.format_tb(one.__traceback__, -MOST_FRAMES))
        shown.append(f"{frames}{type(one).__name__}")
        waiting += _origins(one)
    return "\n".join(shown)


def _origins(error: BaseException) -> list[BaseException]:
    origin = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    members = list(error.exceptions) if isinstance(error, BaseExceptionGroup) else []
    return [*([origin] if origin else []), *members]


def log_threads() -> None:
    """Log how a handler's own threads end, without the exceptions' messages, which Python would print."""

    def ended(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None:
            log.error("a thread broke:\n%s", trace(args.exc_value))

    threading.excepthook = ended
