"""A token for one job's events and file, for where no key can be sent: a browser's EventSource, a link to a file.

It is signed with the key of whoever asked for it, which all gateways have and no restart changes; with the key go its
tokens. It stands in URLs, so it is short-lived, and opens nothing else.
"""

import hmac
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Annotated

from fastapi import Depends, Query, Request, Security
from fastapi.security import HTTPAuthorizationCredentials

from tandem.api.auth.keys import authenticate, bearer
from tandem.api.server.errors import Invalid, Unauthorized, raises
from tandem.api.server.routing import refuse_unknown
from tandem.shared.config.api_keys import ApiKey

VALID = timedelta(minutes=15)
REFUSED = "the token is not of this job, or no longer valid: POST /v1/jobs/{id}/token makes another"
DIGITS = 12  # of a time in seconds

Token = Annotated[
    str | None,
    Query(max_length=200, description="Of `POST /v1/jobs/{id}/token`, where no key can be sent."),
]


def make(key: ApiKey, job_id: str, expires: datetime) -> str:
    """Make the token; `expires` counts in whole seconds."""
    seconds = str(int(expires.timestamp()))
    return f"{key.name}.{seconds}.{_signature(key, job_id, seconds)}"


def holder(token: str, job_id: str, keys: tuple[ApiKey, ...], now: datetime) -> ApiKey | None:
    """Give the key that a token stands for; None if it is forged, of another job, over, or its key is gone."""
    name, _, rest = token.partition(".")
    seconds, _, signature = rest.partition(".")
    for key in keys:
        if key.name == name and _same(signature, _signature(key, job_id, seconds)):
            return key if len(seconds) <= DIGITS and int(seconds) > now.timestamp() else None
    return None


def _signature(key: ApiKey, job_id: str, seconds: str) -> str:
    said = f"tandem job token\n{job_id}\n{seconds}".encode(errors="replace")
    return urlsafe_b64encode(hmac.digest(key.secret.encode(), said, sha256)).decode().rstrip("=")


def _same(given: str, right: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(given.encode(errors="replace"), right.encode())


@raises(Unauthorized, Invalid)
async def _watcher(
    request: Request,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)],
    token: Token = None,
) -> ApiKey:
    """Find who asks by the key of the request, or by a token for the job of its path."""
    key: ApiKey | None
    if token is None or credentials:
        key = await authenticate(request, credentials)
    else:
        key = holder(token, request.path_params["job_id"], request.app.state.keys, datetime.now(UTC))
        if key is None:
            raise Unauthorized(REFUSED, {"WWW-Authenticate": "Bearer"})
    refuse_unknown(request)
    return key


Watcher = Annotated[ApiKey, Depends(_watcher)]
