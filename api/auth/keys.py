"""Who calls: the API key of a request, and what its role allows."""

from typing import Annotated

import structlog
from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from tandem.api.server.errors import Forbidden, Invalid, Unauthorized, raises
from tandem.api.server.routing import refuse_unknown
from tandem.shared.config.api_keys import ApiKey, Role, find

bearer = HTTPBearer(auto_error=False, description="An API key, role user or admin.")


@raises(Unauthorized)
async def authenticate(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)]
) -> ApiKey:
    """Find the caller's key, and name its owner in what is logged of the request. 401 if there is none."""
    key = find(request.app.state.keys, credentials.credentials) if credentials else None
    if key is None:
        raise Unauthorized("give a known API key: `Authorization: Bearer KEY`", {"WWW-Authenticate": "Bearer"})
    structlog.contextvars.bind_contextvars(owner=key.name)
    return key


@raises(Invalid)
async def _understood(request: Request, key: Annotated[ApiKey, Depends(authenticate)]) -> ApiKey:
    """Look at the query only once it is known who asks."""
    if request.scope["query_string"]:
        refuse_unknown(request)
    return key


Caller = Annotated[ApiKey, Depends(_understood)]


@raises(Forbidden)
async def require_admin(caller: Caller) -> ApiKey:
    """403 unless the caller's role is admin."""
    if caller.role is not Role.ADMIN:
        raise Forbidden("this needs a key of role admin")
    return caller
