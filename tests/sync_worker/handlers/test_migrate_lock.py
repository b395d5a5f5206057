"""No two migrations of one database at once, also where the job book does not keep them apart."""

import shutil
import signal
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql

from tandem.shared.errors import Snooze
from tandem.sync_worker.migrations import lock, runner
from tests.support.processes import ROOT, Process, until

EXAMPLE = ROOT / "deploy/local/alembic"
SLOW = """
import time
from pathlib import Path
from alembic import op
revision, down_revision = "0003", "0002"
def upgrade():
    op.execute("CREATE TABLE slow (id INTEGER)")
    Path({begun!r}).touch()
    while not Path({go!r}).exists():
        time.sleep(0.01)
def downgrade():
    op.execute("DROP TABLE slow")
"""
RUN = """
from pathlib import Path
from tandem.sync_worker.migrations import runner
runner.run(Path({alembic!r}), {url!r}, "head")
"""


@pytest.fixture
def alembic(tmp_path: Path) -> Path:
    """The example, and a migration that goes on until it may end."""
    made = shutil.copytree(EXAMPLE, tmp_path / "ours", ignore=shutil.ignore_patterns("__pycache__"))
    slow = SLOW.format(begun=str(tmp_path / "begun"), go=str(tmp_path / "go"))
    (made / "versions/0003_slow.py").write_text(slow)
    return made


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'app.db'}"


def begin(alembic: Path, url: str, tmp_path: Path) -> Process:
    """Migrate in another process."""
    code = RUN.format(alembic=str(alembic), url=url)
    return Process([sys.executable, "-c", code], env={}, log=tmp_path / "elsewhere.log")


@pytest.fixture
def elsewhere(alembic: Path, url: str, tmp_path: Path) -> Iterator[Process]:
    """Another process in the middle of the migration."""
    process = begin(alembic, url, tmp_path)
    until((tmp_path / "begun").exists, what="the other migration's beginning")
    yield process
    process.stop(signal.SIGKILL)


@pytest.mark.slow
def test_a_second_process_does_not_migrate_beside_the_first(
    alembic: Path, url: str, tmp_path: Path, elsewhere: Process
) -> None:
    for target in ("head", "base"):
        with pytest.raises(Snooze):
            runner.run(alembic, url, target)
    (tmp_path / "go").touch()
    assert elsewhere.popen.wait(60) == 0
    assert runner.run(alembic, url, "head").before == "0003"


@pytest.mark.slow
def test_the_lock_of_a_killed_process_is_free(alembic: Path, url: str, tmp_path: Path, elsewhere: Process) -> None:
    elsewhere.stop(signal.SIGKILL)
    (tmp_path / "go").touch()
    with sqlite3.connect(tmp_path / "app.db") as connection:
        connection.execute("DROP TABLE IF EXISTS slow")  # SQLite's DDL is not taken back
    assert runner.run(alembic, url, "head").after == "0003"


def test_an_env_may_go_twice_through_a_database(alembic: Path, url: str, tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    env = alembic / "env.py"
    env.write_text(env.read_text() + "\nrun_migrations_online()\n")
    assert runner.run(alembic, url, "head").after == "0003"


@pytest.mark.slow
def test_one_that_has_ended_meanwhile_is_looked_at_again(
    alembic: Path, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The revision was read before the lock was taken, and the other migration had not been committed then."""
    (tmp_path / "go").touch()
    runner.run(alembic, url, "0002")
    take = lock.Locks.take

    def late(locks: lock.Locks, connection: Connection) -> None:
        assert begin(alembic, url, tmp_path).popen.wait(60) == 0
        take(locks, connection)

    monkeypatch.setattr(lock.Locks, "take", late)
    with pytest.raises(Snooze):
        runner.run(alembic, url, "head")
    monkeypatch.undo()
    assert runner.run(alembic, url, "head").before == "0003"


def test_a_database_in_memory_has_no_file_to_lock(alembic: Path, tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    assert runner.run(alembic, "sqlite://", "head").after == "0003"


def test_the_lock_of_postgresql_is_its_sessions() -> None:
    """Not a transaction's: a migration may have several. And it waits for nobody."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy has no types here
    said = lock.TAKE.compile(dialect=dialect, compile_kwargs={"literal_binds": True})
    assert str(said) == f"SELECT pg_try_advisory_lock({lock.KEY})"
    assert lock.KEY < 2**63
