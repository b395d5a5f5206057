"""What an answer says of the caller's quota: `RateLimit` and `RateLimit-Policy`.

Source: draft-ietf-httpapi-ratelimit-headers-10; both are lists of RFC 9651's structured fields.
"""

import math
from typing import Any

from tandem.shared.quota import Quota

POLICY = "submissions"
MINUTE = 60

HEADERS: dict[str, Any] = {
    "RateLimit-Policy": {
        "schema": {"type": "string"},
        "description": f'With a rate set: `"{POLICY}";q=600;w={MINUTE}`, so many submissions in so many seconds.',
    },
    "RateLimit": {
        "schema": {"type": "string"},
        "description": f'With a rate set: `"{POLICY}";r=599;t=1`, so many left, and seconds until all are back.',
    },
}


def rate_headers(quota: Quota | None) -> dict[str, str]:
    """Write a quota as headers; none where no rate is set."""
    if quota is None:
        return {}
    headers = {"RateLimit-Policy": f'"{POLICY}";q={quota.limit};w={MINUTE}'}
    if quota.left is not None:
        headers["RateLimit"] = f'"{POLICY}";r={quota.left};t={math.ceil(quota.full_in.total_seconds())}'
    return headers
