"""rq-dashboard in a process of its own, behind HTTP Basic with an admin key, read-only."""

import base64
import logging
import re
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import rq_dashboard.web
import uvicorn
from a2wsgi import WSGIMiddleware
from flask import Flask
from rq.exceptions import NoSuchJobError
from rq.serializers import JSONSerializer
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from shared import notify
from shared.keys import ApiKey, Role, find
from shared.redis import Client, client
from shared.settings import BAD_SETTING, Settings, SettingsError
from shared.start import leave, prepare

log = logging.getLogger("tandem.dashboard")

PORT_IN_USE = 1
# The pages, their data and their files. An allow-list: `//requeue/sync` reaches the same view as `/requeue/sync`.
SHOWN = re.compile(r"/(\d+/.*|static/.*|favicon\.ico)?")
HEADERS = {
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class Guard:
    """Lets admins look, and nobody change anything.

    rq-dashboard checks a login only after it has switched Redis, changes state by GET and knows no CSRF
    token; so what it may see is decided here.
    """

    def __init__(self, app: ASGIApp, keys: tuple[ApiKey, ...]) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (refusal := self._refusal(scope)):
            await refusal(scope, receive, send)
        elif scope["type"] == "http":
            await self._app(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        if not self._admitted(Headers(scope=scope).get("authorization", "")):
            return PlainTextResponse(
                "An admin key is the password; any user name will do.\n",
                401,
                {"WWW-Authenticate": 'Basic realm="Tandem dashboard", charset="UTF-8"'},
            )
        if scope["method"] not in {"GET", "HEAD"} or not SHOWN.fullmatch(scope["path"]):
            return PlainTextResponse("The dashboard is read-only; jobs change through the API.\n", 403)
        return None

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


def _with_headers(send: Send) -> Callable[[Any], Awaitable[None]]:
    async def wrapped(message: Any) -> None:
        if message["type"] == "http.response.start":
            extra = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
            message = {**message, "headers": [*message.get("headers", []), *extra]}
        await send(message)

    return wrapped


def flask_app(connection: Client) -> Flask:
    """Build rq-dashboard on our connection and RQ's JSON serializer."""
    app = Flask("rq_dashboard")  # by this name Flask finds the static files that its pages ask for
    app.config.update(RQ_DASHBOARD_REDIS_URL=("the shared Redis",), RQ_DASHBOARD_DISABLE_DELETE=True)
    app.redis_conn = connection  # type: ignore[attr-defined]  # where rq-dashboard looks for it
    # It opens a client of its own for each request, without our timeouts: give it ours.
    rq_dashboard.web.from_url = lambda *_args, **_kwargs: (None, connection)
    rq_dashboard.web.config.serializer = JSONSerializer
    app.register_blueprint(rq_dashboard.blueprint)
    app.register_error_handler(NoSuchJobError, lambda _error: ("No such job.\n", 404))
    return app


def create_app(settings: Settings) -> Guard:
    """Build the guarded dashboard. Raises SettingsError without API keys."""
    dashboard: Any = flask_app(client(settings.redis))
    bridge: Any = WSGIMiddleware(dashboard)
    return Guard(bridge, settings.keys)


def main() -> None:
    settings = prepare()
    try:
        app = create_app(settings)
    except SettingsError as error:
        leave(str(error), BAD_SETTING)
    try:
        listener = socket.create_server((settings.host, settings.dashboard_port))
    except OSError as error:
        leave(f"DASHBOARD_PORT={settings.dashboard_port}: can't listen: {error.strerror}", PORT_IN_USE)
    notify.ready()
    log.info("listening on port %d", settings.dashboard_port)
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", ws="none")
    uvicorn.Server(config).run([listener])


if __name__ == "__main__":
    main()
