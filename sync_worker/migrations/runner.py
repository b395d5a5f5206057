"""Moves a database to a revision. The only file that knows Alembic."""

import logging
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError

from tandem.shared.errors import FinalError, JobError, Snooze, TandemError, TransientError
from tandem.sync_worker.migrations.lock import AGAIN, Locks

BACK = re.compile(r"(.*@)?base|.*-\d+")
FORTH = re.compile(r".*\+\d+")
NO_CONNECTION = (OperationalError, InterfaceError, OSError)


@dataclass
class Outcome:
    """Revisions before and after (comma-separated if there are several branches; None: an empty
    database) and those that were run, in order.
    """

    before: str | None = None
    after: str | None = None
    applied: list[str] = field(default_factory=list)


def run(alembic: Path, database: str, target: str) -> Outcome:
    """Upgrade or downgrade `database` (a URL) to `target`, whichever way that lies.

    `alembic` is a folder with an `alembic.ini` or with an `env.py`, or an ini file.

    Raises:
        FinalError: `not_configured`, the folder or the URL can't be used; `unknown_revision`, nothing
            leads to `target`; `migration_failed`, names the revision and what the database said.
        TransientError: `database_unavailable`, there was no connection to begin with.
        Snooze: another migration of this database is at work, or has just ended.

    """
    url = _url(database)
    config = _config(alembic)
    # ConfigParser reads % as its own; env.py gets the URL as it was.
    config.set_main_option("sqlalchemy.url", database.replace("%", "%%"))
    try:
        script = ScriptDirectory.from_config(config)
    except CommandError as error:
        raise FinalError(f"TANDEM_ALEMBIC: {error}", type="not_configured") from None
    locks = Locks()
    walk = _Walk(script, target, locks)
    try:
        with closing(locks), _logging_kept(), EnvironmentContext(config, script, fn=walk, destination_rev=target):
            script.run_env()  # commits
    except TandemError:
        raise
    except Exception as error:  # noqa: BLE001 - migrations are anybody's code
        raise _failure(error, walk, url) from None
    if not walk.begun:
        raise FinalError("env.py ended without running the migrations", type="migration_failed")
    return walk.outcome


class _Walk:
    """Alembic's "migrations function": it is asked for the steps and resumed after each one."""

    def __init__(self, script: ScriptDirectory, target: str, locks: Locks) -> None:
        self._script = script
        self._target = target
        self._locks = locks
        self.outcome = Outcome()
        self.begun = False
        self.current: str | None = None

    def __call__(self, heads: tuple[str, ...], context: MigrationContext) -> Iterator[RevisionStep]:
        self._take_lock(heads, context)
        self.begun = True
        self.outcome.before = _join(heads)
        for step in _steps(self._script, self._target, heads):
            self.current = step.revision.revision
            yield step
            self.outcome.applied.append(self.current)
        self.current = None
        self.outcome.after = _join(context.get_current_heads())

    def _take_lock(self, heads: tuple[str, ...], context: MigrationContext) -> None:
        """Take the database's lock. Raises Snooze, also if another migration has ended since the heads were read."""
        if context.connection is None:  # it writes SQL for others to run
            return
        self._locks.take(context.connection)
        if set(context.get_current_heads()) != set(heads):
            raise Snooze(AGAIN, why="another migration is at work")


def _steps(script: ScriptDirectory, target: str, heads: tuple[str, ...]) -> list[RevisionStep]:
    try:
        script.get_revisions(heads)
    except CommandError as error:
        message = f"the database is at a revision that the Alembic folder does not hold: {error}"
        raise FinalError(message, type="unknown_revision") from None
    try:
        # As alembic.command does; there is no public way to learn the steps.
        if _lies_behind(script, target, heads):
            return script._downgrade_revs(target, heads)  # type: ignore[arg-type]  # noqa: SLF001  # Alembic passes heads, too
        return script._upgrade_revs(target, heads)  # type: ignore[arg-type]  # noqa: SLF001  # as above
    except (CommandError, AssertionError) as error:
        message = f"{target!r}: {error}" if str(error) else f"{target!r} leads nowhere from here"
        raise FinalError(message, type="unknown_revision") from None


def _lies_behind(script: ScriptDirectory, target: str, heads: tuple[str, ...]) -> bool:
    """Whether the way to `target` is a downgrade: the sign says so, or it was run earlier."""
    if BACK.fullmatch(target):
        return True
    if FORTH.fullmatch(target) or not heads:
        return False
    wanted = {revision.revision for revision in script.get_revisions(target)}
    behind = {revision.revision for revision in script.iterate_revisions(heads, "base")} - set(heads)
    return bool(wanted) and wanted <= behind


def _join(heads: tuple[str, ...]) -> str | None:
    return ",".join(sorted(heads)) or None


# --- where it is


class _Config(Config):
    """An ini file's `prepend_sys_path = .` means the file's folder, not that of the worker."""

    def get_prepend_sys_paths_list(self) -> list[str] | None:
        paths = super().get_prepend_sys_paths_list()
        if paths is None or self.config_file_name is None:
            return paths
        return [str(Path(self.config_file_name).parent / path) for path in paths]


def _config(alembic: Path) -> Config:
    alembic = alembic.resolve()
    ini = alembic / "alembic.ini" if alembic.is_dir() else alembic
    if ini.is_file():
        return _from_ini(ini)
    if not (alembic / "env.py").is_file():
        raise FinalError(f"TANDEM_ALEMBIC={alembic} holds neither alembic.ini nor env.py", type="not_configured")
    config = _Config()
    _set_location(config, alembic)
    return config


def _from_ini(ini: Path) -> Config:
    config = _Config(ini)
    location = config.get_main_option("script_location", ".")
    if ":" not in location:  # package:folder is found by import
        _set_location(config, ini.parent / location)
    return config


def _set_location(config: Config, folder: Path) -> None:
    config.set_main_option("script_location", str(folder).replace("%", "%%"))


def _url(database: str) -> URL:
    try:
        return make_url(database)
    except (ArgumentError, ValueError):  # the message may quote it
        raise FinalError("DATABASE_URL is not a database URL", type="not_configured") from None


@contextmanager
def _logging_kept() -> Iterator[None]:
    """The usual env.py calls `fileConfig`, which replaces the root handler and silences all other loggers."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    silent = {name for name, logger in _loggers() if logger.disabled}
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        for name, logger in _loggers():
            logger.disabled = name in silent


def _loggers() -> list[tuple[str, logging.Logger]]:
    known: dict[str, Any] = logging.Logger.manager.loggerDict
    return [(name, logger) for name, logger in known.items() if isinstance(logger, logging.Logger)]


# --- what it means


def _failure(error: Exception, walk: _Walk, url: URL) -> JobError:
    if not walk.begun and isinstance(error, NO_CONNECTION):
        return TransientError(_explain(error, url), type="database_unavailable")
    place = f"revision {walk.current}: " if walk.current else ""
    return FinalError(place + _explain(error, url), type="migration_failed")


def _explain(error: Exception, url: URL) -> str:
    """The database's own words, else the exception's; without the URL and the password."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        text = str(error.orig)
    else:
        text = f"{type(error).__name__}: {error}"
    for secret in _secrets(url):
        text = text.replace(secret, "***")
    return text.strip()


def _secrets(url: URL) -> list[str]:
    """Every way to write what nobody must read, the longest first."""
    if not url.password:
        return []
    password = str(url.password)
    ways = {password, quote(password, safe=""), quote_plus(password), url.render_as_string(hide_password=False)}
    return sorted(ways, key=len, reverse=True)
