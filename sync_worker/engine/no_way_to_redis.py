"""Notices that a horse could not connect to Redis where its worker still can."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from tandem.shared.config.settings import Settings, SettingsError
from tandem.shared.errors import JobError, TransientError


def no_way_to_redis(settings: Settings) -> JobError | None:
    """Say why a horse could not connect, where this process still can: RUN_DIR was deleted under both."""
    try:
        address = urlsplit(settings.redis)
    except SettingsError:
        said = "RUN_DIR was deleted while the worker ran, and with it the address of the embedded Redis"
        return TransientError(said, type="run_dir_gone")
    if address.scheme == "unix" and not Path(unquote(address.path)).exists():
        return TransientError("the socket of Redis was deleted while the worker ran", type="run_dir_gone")
    return None
