"""Tokens and pieces of texts, offline and without a vocabulary (which would cost 140 MB a process)."""

import re

from tandem.shared.tasks.forecast import BYTES_PER_TOKEN, estimate, size

__all__ = ["cut", "estimate", "split"]
SMALLEST = 2  # tokens; holds any one character

# Where a text may be cut, best first; each cuts behind the boundary, so that nothing is lost.
BOUNDARIES = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?<=\n\n)(?=[^\n])",  # paragraphs
        r"(?<=\n)",  # lines
        r"(?<=[.!?…]\s)|(?<=[。！？])",  # noqa: RUF001 sentences, also of Chinese and Japanese
        r"(?<=\s)",  # words
    )
)


def split(text: str, limit: int) -> list[str]:
    """Cut a text into as few pieces of at most `limit` >= 2 estimated tokens as its boundaries allow.

    Joined they are the text again.
    """
    return _split(text, max(limit, SMALLEST) * BYTES_PER_TOKEN, 0)


def cut(text: str, limit: int) -> str:
    """Keep the beginning of a text, up to `limit` >= 2 estimated tokens."""
    return split(text, limit)[0].rstrip()


def _split(text: str, most: int, level: int) -> list[str]:
    if size(text) <= most:
        return [text]
    if level == len(BOUNDARIES):
        step = most // 4  # a character has at most 4 bytes
        return [text[start : start + step] for start in range(0, len(text), step)]
    pieces: list[str] = []
    for unit in BOUNDARIES[level].split(text):
        pieces += _split(unit, most, level + 1)
    return _pack(pieces, most)


def _pack(pieces: list[str], most: int) -> list[str]:
    """Join neighbours as long as they fit."""
    packed: list[list[str]] = []
    room = 0
    for piece in pieces:
        held = size(piece)
        if held > room:
            packed.append([])
            room = most
        packed[-1].append(piece)
        room -= held
    return ["".join(group) for group in packed]
