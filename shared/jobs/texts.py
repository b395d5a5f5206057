"""The texts of a job that may be long, its input and its result, as Redis keeps them.

A short one stands in the job's record, a longer one in a key of its own: `keep_text` in the store's Lua.
"""

from typing import NamedTuple

# The longest value, in bytes, with which a hash of Redis stays a listpack: its default `hash-max-listpack-value`.
SHORT = 64


class Text(NamedTuple):
    """A text as it is kept, and its length as it is read, in bytes."""

    kept: bytes
    bytes: int


def pack(text: str) -> Text:
    """Make of a text what is kept of it."""
    plain = text.encode()
    return Text(plain, len(plain))
