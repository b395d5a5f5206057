"""Clients of the one shared Redis, for both kinds of code, from one parsed URL."""

import logging
import re
import socket
import time
from datetime import timedelta
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import hiredis
import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from tandem.shared.errors import StoreUnavailable
from tandem.shared.runtime.outage import Outage

log = logging.getLogger("tandem.redis")

TIMEOUT = 5.0  # seconds for one command
# As above, of what renews leases: a lease lasts for three renewals that take so long (shared/store/scripts.py).
LEASE_TIMEOUT = 1.0
RETRIES = 3
FUNCTIONS_SINCE = 7  # the major version of Redis; Valkey says 7 of itself
START_PATIENCE = 30.0  # seconds a starting process waits for Redis
PASSING = (redis.ConnectionError, redis.TimeoutError)
REFUSED = (
    redis.AuthenticationError,
    redis.exceptions.AuthenticationWrongNumberOfArgsError,
    redis.exceptions.NoPermissionError,
)
# Answers of a server that is there but can't take writes now.
# redis-py makes types of some and drops the code from their text; the others keep it.
UNABLE_TYPES = (redis.OutOfMemoryError, redis.ReadOnlyError, redis.BusyLoadingError)
UNABLE = re.compile(r"(OOM|MISCONF|READONLY|LOADING|MASTERDOWN|NOREPLICAS|BUSY|UNBLOCKED)\b")

AsyncClient = redis.asyncio.Redis
Client = redis.Redis


# A blocking read on a connection that a firewall has forgotten would hang for ever: 15 + 3 x 5 s notice it.
KEEPALIVE = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}


def _options(url: str, retry: Any, timeout: float | None, retries: int) -> dict[str, Any]:
    common = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout or TIMEOUT,
        # A health check pings while it connects, and reconnects when that fails: retries within retries, without an
        # end where something accepts connections for a Redis that is away. Keep-alives and time-outs do its work.
        "health_check_interval": 0,
        "retry": retry(ExponentialBackoff(cap=0.5, base=0.05), retries),
        "retry_on_error": [redis.ConnectionError, redis.TimeoutError],
        # Not told to Redis: it is two commands a connection, and each process of a sync job opens one.
        "lib_name": None,
        "lib_version": None,
    }
    if url.startswith("unix"):
        return common
    known = {getattr(socket, name): value for name, value in KEEPALIVE.items() if hasattr(socket, name)}
    return {**common, "socket_keepalive": True, "socket_keepalive_options": known}


def client(url: str, *, timeout: float | None = TIMEOUT, retries: int = RETRIES) -> Client:
    """Open a client for synchronous code; `timeout` None is for blocking commands.

    A connection that failed is closed; each of `retries` is on a new one.
    """
    options = _options(url, Retry, timeout, retries)
    if found := sentinel(url):
        hosts, name, login = found
        watcher = redis.sentinel.Sentinel(hosts, **login, **options)  # type: ignore[no-untyped-call]  # redis-py has no types here
        return cast("Client", watcher.master_for(name, **login, **options))  # type: ignore[no-untyped-call]  # as above
    return redis.Redis.from_url(url, **options)


def async_client(
    url: str, *, timeout: float | None = TIMEOUT, connections: int = 50, retries: int = RETRIES
) -> AsyncClient:
    """Open a client for asyncio code, as `client`; at most `connections`, further callers wait for one."""
    options = _options(url, AsyncRetry, timeout, retries)
    if found := sentinel(url):
        hosts, name, login = found
        watcher = redis.asyncio.sentinel.Sentinel(hosts, **login, **options)  # type: ignore[no-untyped-call]  # as above
        pooled = {**options, "max_connections": connections, "timeout": TIMEOUT}
        master = cast("AsyncClient", watcher.master_for(name, connection_pool_class=_SentinelPool, **login, **pooled))
        _pack_fast(master.connection_pool)
        return master
    pool = redis.asyncio.BlockingConnectionPool.from_url(url, max_connections=connections, timeout=TIMEOUT, **options)
    _pack_fast(pool)
    return redis.asyncio.Redis.from_pool(pool)


class _FastPacking:
    """Writes commands by hiredis, as redis-py does in synchronous code alone: its own way costs by the argument."""

    def pack_command(self, *args: Any) -> list[bytes]:
        name, *rest = args  # a name such as FUNCTION LOAD is two words to Redis
        return [hiredis.pack_command((*name.split(), *rest))]


def _pack_fast(pool: redis.asyncio.ConnectionPool) -> None:
    kind = pool.connection_class
    pool.connection_class = type(kind.__name__, (_FastPacking, kind), {})


class _SentinelPool(redis.asyncio.sentinel.SentinelConnectionPool, redis.asyncio.BlockingConnectionPool):
    """Connections to the master of the day, at most so many."""


def sentinel(url: str) -> tuple[list[tuple[str, int]], str, dict[str, Any]] | None:
    """Parse `redis+sentinel://[user:password@]host1[:port],host2/name[/db]`; None for other schemes."""
    parts = urlsplit(url)
    if parts.scheme != "redis+sentinel":
        return None
    login, _, hosts = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    name, _, db = parts.path.strip("/").partition("/")
    addresses = [_address(host) for host in hosts.split(",")]
    kwargs = {"username": unquote(user) or None, "password": unquote(password) or None, "db": int(db or 0)}
    return addresses, name or "mymaster", kwargs


def _address(host: str) -> tuple[str, int]:
    """Read `host[:port]`, where host may be `[IPv6]`. Raises ValueError."""
    parts = urlsplit(f"//{host}")
    if not parts.hostname:
        raise ValueError("a sentinel has no host")
    return parts.hostname, parts.port or 26379


# What a call may raise. A connection that is closed while redis-py opens it is a bare RuntimeError of uvloop's.
RAISED = (RedisError, RuntimeError)
CLOSED = "the handler is closed"


def unavailable(error: Exception) -> bool:
    """Tell an outage (away, full, read-only) from a mistake of ours."""
    if isinstance(error, RuntimeError):
        return CLOSED in str(error)
    return isinstance(error, (*PASSING, *UNABLE_TYPES)) or bool(UNABLE.match(str(error)))


def is_away(error: BaseException | None) -> bool:
    """Tell an outage for all, as far as one can see, from silence: Redis refuses connections, or can't take writes."""
    while error is not None:
        if isinstance(error, (ConnectionRefusedError, FileNotFoundError, *UNABLE_TYPES)) or UNABLE.match(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def has_functions(version: str) -> bool:
    """Tell whether a Redis of this version keeps scripts as functions. One that does not say its version may."""
    major = version.partition(".")[0]
    return not major.isdecimal() or int(major) >= FUNCTIONS_SINCE


def _call_a_script(connection: Client) -> None:
    """Call one that nobody has. Raises NoPermissionError: the user may call none."""
    try:
        connection.fcall("tandem", 0)
    except redis.ResponseError as error:
        if isinstance(error, redis.exceptions.NoPermissionError):
            raise


def wait_until_ready(url: str, *, patience: float = START_PATIENCE) -> None:
    """Wait for Redis at start and check that it may hold jobs.

    Raises:
        StoreUnavailable: it did not answer for `patience` seconds, is too old, is a cluster, or evicts keys without a
            TTL.
        ValueError: it refuses the login, or the user may not do what is needed.

    """
    connection = client(url)
    # redis-py checks a connection's health while it logs in: refused, it would try again until the stack is full.
    connection.connection_pool.connection_kwargs["health_check_interval"] = 0
    outage = Outage(log, "waiting for Redis", patience=timedelta(seconds=patience))
    while True:
        try:
            memory = cast("dict[str, Any]", connection.info("memory"))
            persistence = cast("dict[str, Any]", connection.info("persistence"))
            cluster = cast("dict[str, Any]", connection.info("cluster"))
            version = str(cast("dict[str, Any]", connection.info("server")).get("redis_version", ""))
            _call_a_script(connection)
            break
        except REFUSED as error:
            raise ValueError(f"REDIS_URL: the server refuses user or password: {error}") from None
        except RedisError as error:
            time.sleep(outage.pause(error))
    connection.close()
    if not has_functions(version):
        raise StoreUnavailable(
            f"REDIS_URL: Redis {version} is too old, it has no functions; use Redis 7.0 or newer, or Valkey"
        )
    if cluster.get("cluster_enabled"):
        raise StoreUnavailable(
            "REDIS_URL: Redis runs in cluster mode, where one script can't reach all of a job's keys; "
            "use a single server, or one with replicas and Sentinel"
        )
    policy = str(memory.get("maxmemory_policy", "noeviction"))
    if policy.startswith("allkeys"):
        raise StoreUnavailable(
            f"Redis runs with maxmemory-policy {policy}, which deletes waiting jobs; "
            "use noeviction (recommended) or a volatile-* policy"
        )
    if not persistence.get("aof_enabled"):
        log.warning("Redis keeps no append-only file: a restart of Redis can lose accepted jobs")
