"""A task's output as JSON.

Nothing else runs in a process while pydantic encodes, half a second for the vectors of 2,048 texts. A long list is
encoded in slices, so that other threads have their turn in between.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from pydantic import BaseModel

Encode = Callable[[BaseModel], str]
LONG = 128  # items of a list
SLICES = 128
# Between slices. pydantic lets go of the interpreter and takes it back at once: who waits for it is woken each time,
# finds it taken, and does not get to the point of asking for it.
TURN = 0.0002  # seconds
MOST_BESIDE = 16 * 1024  # characters of all else, which is encoded with each slice


class LongList(NamedTuple):
    """A field, as it is called in Python and in JSON, and what it holds."""

    name: str
    key: str
    items: list[Any]


def long_list(output: object) -> LongList | None:
    """Find a long list in a field that is encoded item by item: no serializer of its own sees the whole of it."""
    if not isinstance(output, BaseModel) or _has_serializers(type(output)):
        return None
    for name, field in type(output).model_fields.items():
        items = getattr(output, name, None)
        if type(items) is list and len(items) > LONG and not field.metadata:
            return LongList(name, field.serialization_alias or field.alias or name, items)
    return None


def _has_serializers(model: type[BaseModel]) -> bool:
    own = model.__pydantic_decorators__
    return bool(own.model_serializers or own.field_serializers or own.computed_fields)


def encode(output: BaseModel, encode_one: Encode) -> str:
    """Encode by `encode_one`; the JSON is the same as if that was called once."""
    if not (found := long_list(output)):
        return encode_one(output)
    empty, opening = encode_one(output.model_copy(update={found.name: []})), f'"{found.key}":['
    if len(empty) > MOST_BESIDE or empty.count(f"{opening}]") != 1:
        return encode_one(output)
    head, _, tail = empty.partition(f"{opening}]")
    head, tail = head + opening, f"]{tail}"
    step = -(-len(found.items) // SLICES)
    slices = (found.items[start : start + step] for start in range(0, len(found.items), step))
    parts = []
    for part in slices:
        parts.append(encode_one(output.model_copy(update={found.name: part}))[len(head) : -len(tail)])
        time.sleep(TURN)
    parts[0], parts[-1] = head + parts[0], parts[-1] + tail
    return ",".join(parts)
