"""The texts of a job that may be long, its input and its result, as Redis keeps them.

A short one stands in the job's record, a longer one in a key of its own: `keep_text` in the store's Lua. From 1 KB on
it is compressed, where that makes it shorter: a mark, which no JSON begins with, and a frame of zstd.
"""

import sys
from typing import NamedTuple

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# The longest value, in bytes, with which a hash of Redis stays a listpack: its default `hash-max-listpack-value`.
SHORT = 64
LONG = 1024  # bytes from which on a text is compressed
LARGE = 100_000  # bytes from which on that is no work for an event loop
LARGEST = 2**30  # bytes, as of a request's body
MARK = b"\x01"
LEVEL = 3


class Text(NamedTuple):
    """A text as it is kept, and its length as it is read, in bytes."""

    kept: bytes
    bytes: int


def pack(text: str, *, compress: bool = True) -> Text:
    """Make of a text what is kept of it. Without `compress` that is the text itself."""
    plain = text.encode()
    is_taken_for_packed = plain.startswith(MARK)
    if not compress or (len(plain) < LONG and not is_taken_for_packed):
        return Text(plain, len(plain))
    packed = MARK + zstd.compress(plain, LEVEL)
    return Text(packed if is_taken_for_packed or len(packed) < len(plain) else plain, len(plain))


def unpack(kept: bytes, size: int) -> bytes:
    """Give the text, which is `size` bytes long.

    Raises:
        ValueError: it is not what `pack` made. No more than `size` bytes were made of it.

    """
    if not kept.startswith(MARK):
        return kept
    frame, reader = kept[len(MARK) :], zstd.ZstdDecompressor()
    try:
        if size > LARGEST or zstd.get_frame_info(frame).decompressed_size != size:
            raise ValueError("a text of another length")
        plain = reader.decompress(frame, max_length=size)
    except zstd.ZstdError as error:
        raise ValueError("no frame of zstd") from error
    if len(plain) != size or not reader.eof or reader.unused_data:
        raise ValueError("a broken frame of zstd")
    return plain
