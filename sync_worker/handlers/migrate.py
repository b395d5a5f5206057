"""Brings the application's database to a revision."""

from pathlib import Path

from tandem.shared.config.settings import Settings
from tandem.shared.errors import FinalError
from tandem.shared.tasks.catalog.maintenance import MIGRATE, MigrateInput, MigrateOutput
from tandem.sync_worker.context import SyncContext, handles


@handles(MIGRATE)
def migrate(ctx: SyncContext, job: MigrateInput) -> MigrateOutput:
    """Upgrade or downgrade to `job.revision`.

    Raises:
        Snooze: another job migrates now, or another run of this one that has lost its lease.
        FinalError: `not_configured`, `unknown_revision`, `migration_failed`.
        TransientError: `database_unavailable`.

    """
    # Here, as Alembic and SQLAlchemy are 20 MB, which every fork would pay for and few jobs need.
    from tandem.sync_worker.migrations import runner  # noqa: PLC0415

    alembic, database = _target(ctx.settings)
    ctx.hold("migrate")
    outcome = runner.run(alembic, database, job.revision)
    return MigrateOutput(from_=outcome.before, to=outcome.after, applied=outcome.applied)


def _target(settings: Settings) -> tuple[Path, str]:
    """Find the Alembic folder and the database: both set, or both the local set-up's example.

    Never one of each: the example's tables have no place in somebody's database.
    """
    if settings.alembic and settings.database_url:
        return settings.alembic, settings.database_url.get_secret_value()
    run_dir = settings.run_dir.resolve()
    example = run_dir / "alembic"
    if not settings.alembic and not settings.database_url and example.is_dir():
        return example, f"sqlite:///{run_dir / 'app.db'}"
    unset = [
        name
        for name, value in (("DATABASE_URL", settings.database_url), ("TANDEM_ALEMBIC", settings.alembic))
        if not value
    ]
    message = f"migrate needs DATABASE_URL and TANDEM_ALEMBIC; unset: {', '.join(unset)}"
    raise FinalError(message, type="not_configured")
