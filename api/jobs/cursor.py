"""Opaque cursors of a listing: where it goes on, for the filter and the caller it was made for."""

import base64
import hashlib
import json
import re

from tandem.shared.store.listing import Filter, Position

NOT_OURS = "not a cursor of this listing"
SCORE = re.compile(r"[0-9]{1,16}")
JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")


class BadCursor(ValueError):
    """The cursor was not made by this listing."""


def encode(position: Position, which: Filter) -> str:
    """Make a cursor."""
    return base64.urlsafe_b64encode(json.dumps([*position, _mark(which)]).encode()).decode().rstrip("=")


def decode(cursor: str, which: Filter) -> Position:
    """Read a cursor.

    Raises:
        BadCursor: it is garbage, or of another caller or filter.

    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        score, job_id, mark = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, TypeError, RecursionError):
        raise BadCursor(NOT_OURS) from None
    if not (isinstance(score, str) and SCORE.fullmatch(score) and isinstance(job_id, str) and JOB_ID.fullmatch(job_id)):
        raise BadCursor(NOT_OURS)
    if mark != _mark(which):
        raise BadCursor("the cursor belongs to another caller or another filter")
    return Position(score, job_id)


def _mark(which: Filter) -> str:
    return hashlib.sha256(repr(which).encode()).hexdigest()[:16]
