"""`python -m tandem.api`: one gateway process."""

import gc
import logging
import socket
from types import FrameType

import uvicorn
from fastapi import FastAPI

from tandem.api.app import create_app
from tandem.api.server.listener import listen
from tandem.api.server.protocol import BoundedProtocol
from tandem.shared.config.settings import BAD_SETTING, SettingsError
from tandem.shared.maintenance.scripts import load_scripts
from tandem.shared.runtime import sd_notify
from tandem.shared.runtime.bootstrap import leave, prepare
from tandem.shared.runtime.command_line import take_no_options

log = logging.getLogger("tandem.api")

PORT_IN_USE = 1


class Server(uvicorn.Server):
    """Uvicorn that says when it listens, and does not wait for those who wait for jobs."""

    def __init__(self, config: uvicorn.Config, app: FastAPI, port: int) -> None:
        super().__init__(config)
        self._app = app
        self._port = port

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        sd_notify.ready()
        log.info("listening on port %d", self._port)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if subscriptions := getattr(self._app.state, "subscriptions", None):  # not before the start is over
            subscriptions.stop()
        super().handle_exit(sig, frame)


def main() -> None:
    take_no_options("tandem.api", __doc__)
    settings = prepare()
    load_scripts(settings.redis)
    try:
        app = create_app(settings)
    except (SettingsError, ValueError) as error:
        leave(str(error), BAD_SETTING)
    try:
        listener = listen(settings.host, settings.port)
    except OSError as error:
        leave(f"PORT={settings.port}: can't listen on {settings.host}: {error.strerror}", PORT_IN_USE)
    gc.collect()
    gc.freeze()  # what is here stays: the collector need not look at it again and again
    config = uvicorn.Config(
        app,
        http=BoundedProtocol,
        log_config=None,
        access_log=False,
        ws="none",
        timeout_graceful_shutdown=round(settings.grace.total_seconds()),
    )
    Server(config, app, settings.port).run([listener])


main()
