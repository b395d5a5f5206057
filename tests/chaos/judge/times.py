"""Times as the API writes them."""

from datetime import datetime


def moment(iso: str) -> float:
    """Give seconds since 1970."""
    return datetime.fromisoformat(iso).timestamp()
