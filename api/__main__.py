"""`python -m api`: one gateway process."""

import socket

import uvicorn

from api.main import create_app
from shared.settings import BAD_SETTING, SettingsError
from shared.start import leave, prepare

PORT_IN_USE = 1


def main() -> None:
    settings = prepare()
    try:
        app = create_app(settings)
    except (SettingsError, ValueError) as error:
        leave(str(error), BAD_SETTING)
    try:
        listener = socket.create_server((settings.host, settings.port), reuse_port=False, backlog=2048)
    except OSError as error:
        leave(f"PORT={settings.port}: can't listen on {settings.host}: {error.strerror}", PORT_IN_USE)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, timeout_graceful_shutdown=round(settings.grace.total_seconds())
    )
    uvicorn.Server(config).run([listener])


main()
