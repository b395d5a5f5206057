"""Redis's address in arq's form, for `arq --check`: arq's own parser doesn't decode passwords, and shows them."""

from dataclasses import dataclass
from typing import Any

import redis
from arq.connections import RedisSettings

from tandem.shared.runtime.redis_client import sentinel


@dataclass(repr=False)
class Address(RedisSettings):
    """arq's settings without the password in its repr."""

    def __repr__(self) -> str:
        return "Address(…)"


def redis_settings(url: str) -> RedisSettings:
    """Turn the setting REDIS_URL into arq's settings."""
    if found := sentinel(url):
        hosts, master, login = found
        return Address(
            host=hosts,
            sentinel=True,
            sentinel_master=master,
            username=login["username"],
            password=login["password"],
            database=login["db"],
        )
    parts: dict[str, Any] = redis.connection.parse_url(url)  # type: ignore[no-untyped-call]  # redis-py has no types here
    return Address(
        host=parts.get("host", "localhost"),
        port=parts.get("port", 6379),
        unix_socket_path=parts.get("path"),
        database=parts.get("db", 0),
        username=parts.get("username"),
        password=parts.get("password"),
        ssl=url.startswith("rediss"),
    )
