"""`python -m tandem.sync_worker.dashboard`: the dashboard's process."""

import logging
import socket
from typing import Any

import uvicorn
from a2wsgi import WSGIMiddleware

from tandem.shared.config.settings import BAD_SETTING, Settings, SettingsError
from tandem.shared.runtime import sd_notify
from tandem.shared.runtime.bootstrap import leave, prepare
from tandem.shared.runtime.command_line import take_no_options
from tandem.shared.runtime.redis_client import async_client, client
from tandem.shared.store.executor import AsyncBook
from tandem.sync_worker.dashboard.guard import Guard
from tandem.sync_worker.dashboard.pages import flask_app
from tandem.sync_worker.dashboard.requeue import Requeue

log = logging.getLogger("tandem.dashboard")

PORT_IN_USE = 1


def create_app(settings: Settings) -> Guard:
    """Build the guarded dashboard. Raises SettingsError without API keys."""
    pages: Any = flask_app(client(settings.redis))
    bridge: Any = WSGIMiddleware(pages)
    requeue = Requeue(AsyncBook(async_client(settings.redis)), max_age=settings.max_age)
    return Guard(bridge, keys=settings.keys, requeue=requeue)


def main() -> None:
    take_no_options("tandem.sync_worker.dashboard", __doc__)
    settings = prepare()
    try:
        app = create_app(settings)
    except SettingsError as error:
        leave(str(error), BAD_SETTING)
    try:
        listener = socket.create_server((settings.host, settings.dashboard_port))
    except OSError as error:
        leave(f"DASHBOARD_PORT={settings.dashboard_port}: can't listen: {error.strerror}", PORT_IN_USE)
    sd_notify.ready()
    log.info("listening on port %d", settings.dashboard_port)
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", ws="none")
    uvicorn.Server(config).run([listener])


if __name__ == "__main__":
    main()
