"""The migrate task on real SQLite databases."""

import logging
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from tandem.shared.errors import FinalError, JobError, Snooze, TransientError
from tandem.shared.jobs.model import Usage
from tandem.shared.store import leases
from tandem.shared.store.executor import Book
from tandem.shared.store.leases import Success
from tandem.shared.tasks.catalog.maintenance import MIGRATE, MigrateInput, MigrateOutput
from tandem.sync_worker.context import SyncContext
from tandem.sync_worker.handlers.migrate import migrate
from tandem.sync_worker.migrations import runner
from tests.support.processes import ROOT
from tests.support.sync_attempts import Start

EXAMPLE = ROOT / "deploy/local/alembic"

BROKEN = """
from alembic import op
revision, down_revision = "0003", "0002"
def upgrade():
    op.execute("CREATE TABLE halfway (id INTEGER)")
    op.execute("INSERT INTO nowhere VALUES ('%s')")
def downgrade():
    pass
"""


@pytest.fixture
def alembic(tmp_path: Path) -> Path:
    """A copy of the example in a folder whose name tries the escaping."""
    return shutil.copytree(EXAMPLE, tmp_path / "100% ours", ignore=shutil.ignore_patterns("__pycache__"))


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "app.db"


def columns(database: Path, table: str = "customers") -> set[str]:
    with sqlite3.connect(database) as connection:
        return {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}


def go(alembic: Path, database: Path, revision: str = "head") -> tuple[str | None, str | None, list[str]]:
    outcome = runner.run(alembic, f"sqlite:///{database}", revision)
    return outcome.before, outcome.after, outcome.applied


def caught(alembic: Path, url: str, revision: str = "head") -> JobError:
    with pytest.raises(JobError) as info:
        runner.run(alembic, url, revision)
    return info.value


# --- there and back


def test_up_to_head_and_again(alembic: Path, database: Path) -> None:
    assert go(alembic, database) == (None, "0002", ["0001", "0002"])
    assert columns(database) == {"id", "name", "created_at", "email"}
    assert go(alembic, database) == ("0002", "0002", [])


@pytest.mark.parametrize(
    ("start", "revision", "end"),
    [
        ("0002", "0001", ("0002", "0001", ["0002"])),
        ("0002", "-1", ("0002", "0001", ["0002"])),
        ("0002", "base", ("0002", None, ["0002", "0001"])),
        ("0002", "head-1", ("0002", "0001", ["0002"])),
        ("0001", "+1", ("0001", "0002", ["0002"])),
        ("0001", "0001", ("0001", "0001", [])),
        ("0001", "heads", ("0001", "0002", ["0002"])),
        ("0001", "0002", ("0001", "0002", ["0002"])),
        ("base", "base", (None, None, [])),
    ],
)
def test_whichever_way_it_lies(
    alembic: Path, database: Path, start: str, revision: str, end: tuple[str | None, str | None, list[str]]
) -> None:
    go(alembic, database, start)
    assert go(alembic, database, revision) == end
    assert ("email" in columns(database)) == (end[1] == "0002")


@pytest.mark.parametrize(
    "revision", ["nope", "0003", "+5", "-1", "other@head", "nope-1", "nope+1", "@", "...", "a@b@c"]
)
def test_a_revision_that_is_not_there(alembic: Path, database: Path, revision: str) -> None:
    error = caught(alembic, f"sqlite:///{database}", revision)
    assert (type(error), error.type) == (FinalError, "unknown_revision")
    assert revision in error.message


def test_a_database_that_is_ahead_of_the_folder(alembic: Path, database: Path) -> None:
    go(alembic, database)
    (alembic / "versions/0002_customers_email.py").unlink()
    error = caught(alembic, f"sqlite:///{database}")
    assert error.type == "unknown_revision"
    assert "0002" in error.message


# --- what goes wrong


def test_a_failing_migration_names_itself_and_leaves_the_one_before(alembic: Path, database: Path) -> None:
    (alembic / "versions/0003_broken.py").write_text(BROKEN)
    error = caught(alembic, f"sqlite:///{database}")
    assert (type(error), error.type) == (FinalError, "migration_failed")
    assert error.message == "revision 0003: no such table: nowhere"


def test_any_exception_of_a_migration(alembic: Path, database: Path) -> None:
    (alembic / "versions/0003_broken.py").write_text(BROKEN.replace("op.execute(", "int("))
    error = caught(alembic, f"sqlite:///{database}")
    assert error.type == "migration_failed"
    assert "revision 0003: ValueError" in error.message


@pytest.mark.parametrize("file", ["env.py", "versions/0001_customers.py"])
def test_a_script_that_can_t_be_read(alembic: Path, database: Path, file: str) -> None:
    (alembic / file).write_text("import no_such_module")
    error = caught(alembic, f"sqlite:///{database}")
    assert error.type == "migration_failed"
    assert "no_such_module" in error.message


def test_an_env_that_does_nothing(alembic: Path, database: Path) -> None:
    (alembic / "env.py").write_text("")
    assert caught(alembic, f"sqlite:///{database}").type == "migration_failed"


def test_no_database_to_connect_to(alembic: Path, tmp_path: Path) -> None:
    error = caught(alembic, f"sqlite:///{tmp_path / 'no/such/folder.db'}")
    assert (type(error), error.type) == (TransientError, "database_unavailable")


def test_the_password_reaches_env_py_and_nobody_else(alembic: Path, tmp_path: Path) -> None:
    url = "postgresql://ada:p%40ss%25word@127.0.0.1:1/app"
    seen = tmp_path / "seen"
    (alembic / "env.py").write_text(
        "from pathlib import Path\n"
        "from alembic import context\n"
        "url = context.config.get_main_option('sqlalchemy.url')\n"
        f"Path({str(seen)!r}).write_text(url)\n"
        "raise RuntimeError(f'{url} and p@ss%word and {url.upper()[:0]}')\n"
    )
    error = caught(alembic, url)
    assert seen.read_text() == url
    assert error.message == "RuntimeError: *** and *** and"


@pytest.mark.parametrize("url", ["s3cr3t", "postgres://a:s3cr3t@h:port/x", "", "sqlite+s3cr3t"])
def test_a_database_url_that_is_none(alembic: Path, url: str) -> None:
    error = caught(alembic, url)
    assert (type(error), error.type) == (FinalError, "not_configured")
    assert "s3cr3t" not in error.message


# --- the folder


def test_an_ini_file_with_paths_of_its_own(tmp_path: Path, database: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(EXAMPLE, project / "migrations", ignore=shutil.ignore_patterns("__pycache__"))
    (project / "models_of_this_test.py").write_text("")
    env = project / "migrations/env.py"
    env.write_text("import models_of_this_test\nfrom logging.config import fileConfig\n" + env.read_text())
    env.write_text(env.read_text() + "\nfileConfig(config.config_file_name)\n")
    (project / "alembic.ini").write_text(
        "[alembic]\nscript_location = migrations\nprepend_sys_path = .\npath_separator = os\n"
        "sqlalchemy.url = sqlite:///never.db\n"
        "[loggers]\nkeys = root\n[handlers]\nkeys =\n[formatters]\nkeys =\n[logger_root]\nlevel = ERROR\nhandlers =\n"
    )
    ours, before = logging.getLogger("tandem.test"), logging.getLogger().handlers[:]
    assert go(project, database) == (None, "0002", ["0001", "0002"])
    assert go(project / "alembic.ini", database)[2] == []
    assert not ours.disabled
    assert logging.getLogger().handlers == before
    assert not Path("never.db").exists()


def test_a_folder_without_alembic(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        error = caught(folder, "sqlite://")
        assert error.type == "not_configured"
        assert str(folder) in error.message


# --- the task


def ask(start: Start, *, revision: str = "head", **settings: Any) -> MigrateOutput:
    context = start(MIGRATE, {"revision": revision}, **settings)
    return run(context, revision)


def run(context: SyncContext, revision: str = "head") -> MigrateOutput:
    output = migrate(context, MigrateInput(revision=revision))
    assert isinstance(output, MigrateOutput)
    return output


def test_the_task(start: Start, alembic: Path, database: Path) -> None:
    output = ask(start, alembic=alembic, database_url=SecretStr(f"sqlite:///{database}"))
    assert output.model_dump() == {"from": None, "to": "0002", "applied": ["0001", "0002"]}


def test_the_local_example(start: Start, tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "alembic")
    assert ask(start, revision="0001").to == "0001"
    assert columns(tmp_path / "app.db") == {"id", "name", "created_at"}


@pytest.mark.parametrize(
    ("settings", "unset"),
    [
        ({}, "DATABASE_URL, TANDEM_ALEMBIC"),
        ({"alembic": Path("somewhere")}, "DATABASE_URL"),
        ({"database_url": SecretStr("sqlite://")}, "TANDEM_ALEMBIC"),
    ],
)
def test_nothing_is_configured(start: Start, tmp_path: Path, settings: dict[str, Any], unset: str) -> None:
    if settings:
        (tmp_path / "alembic").mkdir()  # the example never mixes with what somebody set
    with pytest.raises(FinalError, match=f"unset: {unset}$") as info:
        ask(start, **settings)
    assert info.value.type == "not_configured"


def test_one_at_a_time(start: Start, book: Book, alembic: Path, database: Path) -> None:
    where: dict[str, Any] = {"alembic": alembic, "database_url": SecretStr(f"sqlite:///{database}")}
    first = start(MIGRATE, {}, **where)
    second = start(MIGRATE, {}, **where)
    first.hold("migrate")
    with pytest.raises(Snooze):
        run(second)
    assert not database.exists()
    book.run(leases.succeed(first.lease, Success("{}"), usage=Usage(), ttl=first.settings.job_ttl))
    assert run(second).to == "0002"
