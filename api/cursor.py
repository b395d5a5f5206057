"""Opaque cursors of a listing: where it goes on, for the filter and the caller it was made for."""

import base64
import hashlib
import json

from shared.store import Filter, Position


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
        position = (str(int(score)), str(job_id))
    except (ValueError, TypeError):
        raise BadCursor("not a cursor of this listing") from None
    if mark != _mark(which):
        raise BadCursor("the cursor belongs to another caller or another filter")
    return position


def _mark(which: Filter) -> str:
    return hashlib.sha256(repr(which).encode()).hexdigest()[:16]
