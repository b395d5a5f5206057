"""How every process starts: settings, logs, Redis. What is wrong is said in one line."""

import logging
import sys
from typing import NoReturn

from tandem.shared.config.settings import BAD_SETTING, Settings, SettingsError, load_or_exit
from tandem.shared.errors import StoreUnavailable
from tandem.shared.runtime import logs
from tandem.shared.runtime.redis_client import wait_until_ready

OUTAGE = 1


def prepare(settings: Settings | None = None) -> Settings:
    """Read the settings (or take those), configure the logs and wait for Redis.

    Exits with 2 on a bad or missing setting, with 1 if Redis does not answer or is unfit for jobs.
    """
    settings = settings or load_or_exit()
    logs.configure(settings)
    try:
        settings.check_owners()
        wait_until_ready(settings.redis)
    except StoreUnavailable as error:
        leave(str(error), OUTAGE)
    except (SettingsError, ValueError) as error:
        leave(str(error), BAD_SETTING)
    return settings


def leave(message: str, code: int) -> NoReturn:
    """Say why and end the process."""
    logging.shutdown()
    sys.stderr.write(f"{message}\n")
    raise SystemExit(code)
