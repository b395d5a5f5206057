"""A client of Redis that can't write, for code that means to read and tidies up on the way."""

from typing import Any

from tandem.shared.runtime.redis_client import Client

READS = frozenset(
    {
        *("EXISTS", "GET", "INFO", "PING", "TIME", "TTL", "TYPE"),
        *("HEXISTS", "HGET", "HGETALL", "HLEN", "HMGET"),
        *("LLEN", "LRANGE", "SCARD", "SISMEMBER", "SMEMBERS", "XLEN", "XREVRANGE"),
        *("ZCARD", "ZCOUNT", "ZRANGE", "ZRANGEBYSCORE", "ZREVRANGE", "ZSCORE"),
    }
)
# RQ drops what it does not find: a job without a hash, a worker without a heartbeat.
TIDYING = frozenset({"LREM", "SREM", "ZREM"})


class NotForReaders(Exception):
    """A command that may write was refused."""


class ReadOnly(Client):
    """The same server, but nothing changes: tidying does nothing, any other write raises NotForReaders."""

    def __init__(self, connection: Client) -> None:
        super().__init__(connection_pool=connection.connection_pool)

    def execute_command(self, *args: Any, **options: Any) -> Any:
        name = str(args[0]).upper()
        if name in TIDYING:
            return 0
        if name not in READS:
            raise NotForReaders(name)
        return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]  # redis-py has no types here

    def pipeline(self, *_args: Any, **_options: Any) -> Any:
        raise NotForReaders("a pipeline")
