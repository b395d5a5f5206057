"""What the forking pool checks of its settings at start, beyond their form."""

from collections.abc import Sequence
from importlib import import_module

from tandem.shared.config.settings import Settings, SettingsError
from tandem.shared.errors import JobError
from tandem.shared.storage.artifacts import open_files
from tandem.sync_worker.mail import smtp_url
from tandem.sync_worker.mail.message import sender


def check(settings: Settings) -> None:
    """Refuse at start what would fail at the first job.

    Raises:
        SettingsError: SMTP_URL, TANDEM_MAIL_FROM, TANDEM_ALEMBIC or TANDEM_FILES_URL can't be used.

    """
    try:
        if settings.smtp_url:
            smtp_url.parse(settings.smtp)
    except ValueError as error:
        raise SettingsError(f"SMTP_URL: {error}") from None
    try:
        sender(settings.mail_from)
    except JobError as error:
        raise SettingsError(error.message) from None
    if settings.alembic and not settings.alembic.is_dir():
        raise SettingsError(f"TANDEM_ALEMBIC={str(settings.alembic)!r}: must be a folder with Alembic's env.py")
    open_files(settings)


def preload(names: Sequence[str]) -> None:
    """Import what jobs of plain RQ call, so that no horse has to: modules, or functions by their module and name.

    Raises:
        SettingsError: there is no such thing, or its import fails.

    """
    for name in names:
        try:
            _import(name)
        except Exception as error:  # noqa: BLE001 - it is anybody's module
            said = f"{type(error).__name__}: {error}".splitlines()[0]
            raise SettingsError(f"TANDEM_RQ_IMPORTS={name!r}: can't be imported: {said}") from None


def _import(name: str) -> None:
    above, _, attribute = name.rpartition(".")
    try:
        import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name or not above or not hasattr(import_module(above), attribute):
            raise
