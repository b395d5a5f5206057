"""What the forking pool checks of its settings at start, beyond their form."""

from shared.errors import JobError
from shared.files import Files
from shared.settings import Settings, SettingsError
from sync_worker import smtp_url
from sync_worker.message import sender


def check(settings: Settings) -> None:
    """Refuse at start what would fail at the first job.

    Raises:
        SettingsError: SMTP_URL, TANDEM_MAIL_FROM or TANDEM_FILES_URL can't be used.

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
    try:
        Files(settings.files)
    except (OSError, ValueError) as error:
        raise SettingsError(f"TANDEM_FILES_URL: {error}") from None
