"""What stands in front of rq-dashboard: who may look, what may be asked for, and the one thing that may change."""

import base64
import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tandem.shared.config.api_keys import ApiKey, Role, find
from tandem.sync_worker.dashboard.requeue import Requeue

# The pages, their data and their files. An allow-list: `//requeue/sync` reaches the same view as `/requeue/sync`.
SHOWN = re.compile(r"/(0/.*|static/.*|tandem/[a-z]+\.(js|css)|favicon\.ico)?")
REQUEUE = re.compile(r"/job/(?P<job>[A-Za-z0-9_-]{1,255})/requeue|/requeue/(?P<queue>[^/]{1,255})")
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",  # Bootstrap's style sheet holds its icons
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
HEADERS = {
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in POLICY.items()),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class Guard:
    """Lets admins look, and put finished jobs back; nobody changes anything else.

    rq-dashboard checks a login only after it has switched Redis, changes state by GET and knows no CSRF
    token; so what it may see is decided here, and it never sees anything but GET and HEAD.
    """

    def __init__(self, app: ASGIApp, *, keys: tuple[ApiKey, ...], requeue: Requeue) -> None:
        self._app = app
        self._keys = keys
        self._requeue = requeue

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        send = _with_headers(send)
        answer = await self._answer(scope)
        await (answer or self._app)(scope, receive, send)

    async def _answer(self, scope: Scope) -> Response | None:
        """Answer what is not rq-dashboard's to answer."""
        headers, method = Headers(scope=scope), scope["method"]
        if not self._admitted(headers.get("authorization", "")):
            return PlainTextResponse(
                "An admin key is the password; any user name will do.\n",
                401,
                {"WWW-Authenticate": 'Basic realm="Tandem dashboard", charset="UTF-8"'},
            )
        if method in {"GET", "HEAD"} and SHOWN.fullmatch(scope["path"]):
            return None
        wish = REQUEUE.fullmatch(scope["path"])
        if method != "POST" or wish is None:
            return PlainTextResponse(
                "The dashboard is read-only but for requeueing; jobs change through the API.\n", 403
            )
        if not same_origin(headers):
            return PlainTextResponse("Only the dashboard's own pages may do this.\n", 403)
        return await (self._requeue.one(wish["job"]) if wish["job"] else self._requeue.failed(wish["queue"]))

    def _admitted(self, header: str) -> bool:
        scheme, _, value = header.partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            _, _, password = base64.b64decode(value, validate=True).decode().partition(":")
        except ValueError:  # not Base64, not ASCII or not UTF-8
            return False
        key = find(self._keys, password)
        return key is not None and key.role is Role.ADMIN


def same_origin(headers: Headers) -> bool:
    """Tell whether a browser sent this from one of our own pages.

    Of `Sec-Fetch-Site` (Fetch Metadata) and `Origin` (RFC 6454) at least one is there, and none says otherwise.
    A login that the browser remembers goes with requests of any page, these two can't be set by one.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None and site != "same-origin":
        return False
    if origin is None:
        return site is not None
    try:
        place = urlsplit(origin).netloc
    except ValueError:
        return False
    return bool(place) and place.lower() == headers.get("host", "").lower()


def _with_headers(send: Send) -> Callable[[Any], Awaitable[None]]:
    async def wrapped(message: Any) -> None:
        if message["type"] == "http.response.start":
            extra = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
            message = {**message, "headers": [*message.get("headers", []), *extra]}
        await send(message)

    return wrapped
