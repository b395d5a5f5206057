"""What the forking pool checks of its settings at start, beyond their form."""

from tandem.shared.config.settings import Settings, SettingsError
from tandem.shared.errors import JobError
from tandem.shared.storage.artifacts import Artifacts
from tandem.sync_worker.mail import smtp_url
from tandem.sync_worker.mail.message import sender


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
        Artifacts(settings.files)
    except (OSError, ValueError) as error:
        raise SettingsError(f"TANDEM_FILES_URL: {error}") from None
