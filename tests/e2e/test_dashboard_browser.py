"""The dashboard in a real Chromium: what an admin sees and does, and that nothing a job contains runs there."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, HttpCredentials, Page, ViewportSize, expect

from tandem.shared.jobs.model import Status
from tandem.shared.store.executor import Book
from tests.support.dashboard.browser import chromium
from tests.support.dashboard.hostile import fill
from tests.support.dashboard.running import ADMIN, USER, dashboard_on, fail, put, status
from tests.support.processes import running, until
from tests.support.servers.valkey import Valkey

pytestmark = pytest.mark.slow

CANARY = "http://127.0.0.1:1/canary"
EVIL = f"\"'><img src=x onerror=\"alert(1);new Image().src='{CANARY}'\"><svg onload=alert(2)>{{{{7*7}}}}<%= 7*7 %>"
SIZE: ViewportSize = {"width": 1240, "height": 700}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def address(valkey_server: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with dashboard_on(valkey_server.url, tmp_path_factory.mktemp("browser")) as started:
        yield started


class Watch:
    """What a browser context's pages do that they should not."""

    def __init__(self, context: BrowserContext, address: str) -> None:
        self.dialogs: list[str] = []
        self.elsewhere: list[str] = []
        self.complaints: list[str] = []
        context.on("dialog", self._dismiss)
        context.on("request", lambda request: self._note(request.url, address))
        context.on("console", lambda line: self.complaints.append(line.text) if line.type == "error" else None)
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))

    def _dismiss(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def _note(self, url: str, address: str) -> None:
        if not url.startswith((f"{address}/", "data:")):
            self.elsewhere.append(url)


@contextmanager
def logged_in(browser: Browser, address: str, **options: Any) -> Iterator[tuple[Page, Watch]]:
    login: HttpCredentials = {"username": "anybody", "password": ADMIN}
    context = browser.new_context(base_url=address, http_credentials=login, viewport=SIZE, **options)
    watch = Watch(context, address)
    yield context.new_page(), watch
    context.close()


# --- what an admin sees and does


@pytest.mark.parametrize("password", [None, USER])
def test_without_an_admin_key_there_is_no_page(browser: Browser, address: str, password: str | None) -> None:
    login: HttpCredentials | None = {"username": "root", "password": password} if password else None
    context = browser.new_context(base_url=address, http_credentials=login)
    answers: list[int] = []
    context.on("response", lambda answer: answers.append(answer.status))
    with suppress(Error):  # Chromium calls a refused login an error
        context.new_page().goto("/")
    context.close()
    assert set(answers) == {401}


@contextmanager
def worker(redis_url: str, folder: Path) -> Iterator[None]:
    """Run a worker whose mail server never answers, so that a mail keeps it busy."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        smtp = f"smtp://127.0.0.1:{silent.getsockname()[1]}"
        env = {"REDIS_URL": redis_url, "RUN_DIR": str(folder), "SMTP_URL": smtp, "TANDEM_GRACE": "0"}
        env["TANDEM_LOG_FORMAT"] = "json"
        with running("tandem.sync_worker", "--name", "box.7", env=env, log=folder / "log", says='"ready"'):
            yield


def test_queues_jobs_and_a_worker_at_work(
    browser: Browser, address: str, book: Book, valkey: str, tmp_path: Path
) -> None:
    with worker(valkey, tmp_path), logged_in(browser, address) as (page, watch):
        done = put(book, "report", markdown="# Done")
        until(lambda: status(book, done) is Status.SUCCEEDED, what="the report")
        mail = put(book, "email")
        until(lambda: status(book, mail) is Status.RUNNING, what="the mail")
        waiting = put(book, "cleanup")
        look_around(page, done=done, mail=mail, waiting=waiting)
    assert (watch.complaints, watch.elsewhere, watch.dialogs) == ([], [], [])


def look_around(page: Page, *, done: str, mail: str, waiting: str) -> None:
    page.goto("/")
    row = page.locator("tr[data-role=queue]", has=page.get_by_role("cell", name="sync", exact=True))
    expect(row.get_by_role("cell")).to_have_text(["sync", "1", "0", "0", "1", "1", "0", "0"])
    row.get_by_role("link").first.click()
    expect(page.locator("tr[data-role=job] .description")).to_have_text(f"cleanup {waiting}")
    page.locator("#select-registry").select_option("finished")
    expect(page.locator("tr[data-role=job] .description")).to_have_text(f"report {done}")
    page.get_by_role("link", name=done).click()
    expect(page.locator("#job-data")).to_contain_text("finished")
    expect(page.locator("#job-data")).to_contain_text('"pages": 1')
    page.get_by_role("link", name="Workers").click()
    cells = page.locator("tr[data-role=worker] td")
    expect(cells.nth(0)).to_have_text("box.7")
    expect(cells.nth(1)).to_have_text(f"email('{mail}')")
    expect(cells.nth(2)).to_contain_text("sync")
    page.locator("tr[data-role=worker] a").click()
    expect(page.locator("#job-data")).to_contain_text("started")


def test_buttons_that_would_be_refused_are_not_there(browser: Browser, address: str, book: Book) -> None:
    job_id = put(book)
    fail(book)
    with logged_in(browser, address) as (page, _):
        for name in ("queued", "failed"):
            page.goto(f"/0/view/jobs/sync/{name}/8/asc/1")
            expect(page.locator("[data-role=loading-placeholder]")).to_have_count(0)
            expect(page.get_by_text("Delete")).to_have_count(0)
            expect(page.get_by_text("Empty queue")).to_have_count(0)
            expect(page.get_by_text("Compact")).to_have_count(0)
        page.goto(f"/0/view/job/{job_id}")
        expect(page.locator("#job-data")).to_contain_text("failed")
        expect(page.get_by_text("Delete")).to_have_count(0)


def test_requeued_jobs_run_again(browser: Browser, address: str, book: Book, valkey: str, tmp_path: Path) -> None:
    ids = [put(book, "report", markdown=f"# Again {number}") for number in range(4)]
    for _ in ids:
        fail(book, "the disk was full")
    with worker(valkey, tmp_path), logged_in(browser, address) as (page, watch):
        page.goto(f"/0/view/job/{ids[0]}")
        expect(page.locator("pre.exc_info")).to_contain_text("the disk was full")
        page.locator("#requeue-job-btn").click()
        expect(page.locator("#notice")).to_have_text(f"Requeued {ids[0]}.")
        expect(page.locator("#requeue-job-btn")).to_be_hidden()
        expect(page.locator("#job-data")).to_contain_text("finished")
        page.goto("/0/view/jobs/sync/failed/8/asc/1")
        page.locator(f"tr[data-job-id='{ids[1]}'] [data-role=requeue-job-btn]").click()
        expect(page.locator("#notice")).to_have_text(f"Requeued {ids[1]}.")
        expect(page.locator(f"tr[data-job-id='{ids[1]}']")).to_have_count(0)
        page.locator("#requeue-all-btn").click()
        page.locator("#confirmation-modal-yes").click()
        expect(page.locator("#notice")).to_have_text("Requeued 2 of 2 failed jobs.")
        until(lambda: {status(book, job_id) for job_id in ids} == {Status.SUCCEEDED}, what="the second runs")
    assert (watch.complaints, watch.elsewhere, watch.dialogs) == ([], [], [])


# --- nothing that a job contains runs


@pytest.mark.parametrize("policy", [True, False], ids=["with the policy", "by escaping alone"])
def test_no_payload_runs_anywhere(browser: Browser, address: str, book: Book, policy: bool) -> None:  # noqa: FBT001
    """In a name, description, argument, result, error, metadata, dependency, worker, queue or address."""
    ids = fill(book, EVIL)
    queue = "%22'%3E%3Cimg%20src=x%20onerror=alert(3)%3E');alert(4);('"
    lists = [f"/0/view/jobs/sync/{name}/8/asc/1" for name in ("queued", "started", "finished", "failed")]
    paths = ["/", "/0/view/workers", f"/0/view/jobs/{queue}/queued/8/asc/1", *lists]
    paths += [f"/0/view/job/{job_id}" for job_id in ids]
    shown = 0
    with logged_in(browser, address, bypass_csp=not policy) as (page, watch):
        for path in paths:
            with page.expect_response("**/data/**") as answered:
                page.goto(path)
            assert answered.value.status == 200, path
            expect(page.locator("[data-role=loading-placeholder]:visible")).to_have_count(0)
            expect(page.locator("#job-data")).not_to_be_empty() if "/view/job/" in path else None
            shown += EVIL.split(">")[1] in page.inner_text("body")
            assert page.locator("img, svg").count() == 0, path
    assert shown >= len(ids) + 4, "the payloads were there to be read"
    assert (watch.dialogs, watch.elsewhere, watch.complaints) == ([], [], [])


@pytest.mark.parametrize("policy", [True, False])
def test_the_listeners_hear_and_the_policy_holds(
    browser: Browser,
    address: str,
    book: Book,
    policy: bool,  # noqa: FBT001
) -> None:
    """The same payload, put into the page by hand: only the policy stands in its way."""
    assert book
    with logged_in(browser, address, bypass_csp=not policy) as (page, watch):
        page.goto("/0/view/workers")
        page.evaluate("html => document.body.insertAdjacentHTML('beforeend', html)", EVIL)
        if policy:
            until(lambda: page.evaluate("1") and len(watch.complaints) >= 2, what="two violations of the policy")
            assert all("Content Security Policy" in line for line in watch.complaints if "404" not in line)
            assert (watch.dialogs, watch.elsewhere) == ([], [])
        else:
            until(lambda: page.evaluate("1") and watch.elsewhere, what="the request")
            assert watch.elsewhere == [CANARY]
            until(lambda: page.evaluate("1") and "1" in watch.dialogs, what="the dialog")
