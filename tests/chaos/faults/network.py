"""The way to Redis: a path that leads to the server, or for a while through a proxy that does what networks do."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.servers.proxy import Proxy


class Network:
    """All processes connect to `url`. Whoever changes the way cuts their connections, so that they take the new one."""

    def __init__(self, folder: Path, server: Path) -> None:
        self._path, self._server = folder / "redis.sock", server
        self._proxy: Proxy | None = None
        self.url = f"unix://{self._path}?db=0"
        self._lead(server)

    def _lead(self, to: Path) -> None:
        new = self._path.with_suffix(".new")
        new.symlink_to(to)
        os.replace(new, self._path)  # noqa: PTH105 - a link that is replaced at once

    @contextmanager
    def through_proxy(self) -> Iterator[Proxy]:
        """Lead new connections through a proxy; at the end those are cut, and the way is straight again."""
        place = self._path.with_suffix(".proxy")
        place.unlink(missing_ok=True)
        self._proxy = proxy = Proxy(place, self._server)
        proxy.start()
        self._lead(place)
        try:
            yield proxy
        finally:
            self._lead(self._server)
            self.close()

    def close(self) -> None:
        """Cut what goes through the proxy, if there is one."""
        if self._proxy:
            self._proxy.partition()
            self._proxy.stop()
            self._proxy = None
