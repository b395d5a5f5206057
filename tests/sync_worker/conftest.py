"""Attempts of the forking pool, leased from a real job book."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from tandem.shared.config.settings import Settings
from tandem.shared.dispatch import submission
from tandem.shared.runtime.redis_client import client
from tandem.shared.store import leases
from tandem.shared.store.executor import Book
from tandem.shared.store.submission import store_job
from tandem.shared.tasks.spec import AnySpec
from tandem.sync_worker.context import SyncContext
from tests.support.cleanup_house import House
from tests.support.dashboard.running import ADMIN, dashboard_on, one_of_each
from tests.support.jobs import PLENTY
from tests.support.servers.https import make_certificate, serve
from tests.support.servers.valkey import Valkey
from tests.support.sync_attempts import Start


@pytest.fixture
def book(valkey: str) -> Iterator[Book]:
    """An empty job book."""
    book = Book(client(valkey))
    book.client.flushall()
    yield book
    book.client.close()


@pytest.fixture
def start(book: Book, valkey: str, tmp_path: Path) -> Start:
    def begin(spec: AnySpec, payload: Mapping[str, Any], *, owner: str = "ada", **settings: Any) -> SyncContext:
        chosen = Settings(_env_file=None, run_dir=tmp_path, redis_url=valkey, **settings)
        job = submission(spec, spec.input.model_validate(payload), owner=owner, request_id="test")
        book.run(store_job(job, PLENTY))
        [lease] = book.run(leases.claim_sync(worker="test", ttl=chosen.job_ttl)).leases
        return SyncContext(lease=lease, settings=chosen, book=book)

    return begin


@pytest.fixture(scope="session")
def dashboard(valkey_server: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running dashboard; it finds a job book that each test fills anew."""
    with dashboard_on(valkey_server.url, tmp_path_factory.mktemp("dashboard")) as address:
        yield address


@pytest.fixture(scope="session")
def nobody(dashboard: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=dashboard, timeout=30) as client:
        yield client


@pytest.fixture(scope="session")
def admin(dashboard: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=dashboard, auth=("anybody", ADMIN), timeout=30) as client:
        yield client


@pytest.fixture
def jobs(book: Book) -> dict[str, str]:
    """The ids of a failed, a finished, a waiting, a running and a queued job."""
    return one_of_each(book)


@pytest.fixture
def house(start: Start, book: Book, tmp_path: Path) -> House:
    return House(start, book, tmp_path)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an HTTPS server whose certificate this process trusts."""
    certificate, key = make_certificate(tmp_path_factory.mktemp("tls"))
    with serve(certificate, key) as port, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(certificate))
        yield f"https://localhost:{port}"
