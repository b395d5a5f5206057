"""A proxy of the server that counts what one client sends through it.

The server's own statistics also count what scripts call, and mix all clients.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

import hiredis

from tandem.deploy.local.ports import free_port

HANDSHAKE = frozenset({"AUTH", "CLIENT", "HELLO", "SELECT", "PING", "INFO", "CONFIG", "COMMAND"})
CHUNK = 65536


class Counted:
    """Commands by name, round trips, and connections ever made; handshakes and health checks are left out."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.commands: Counter[str] = Counter()
        self.trips = 0
        self.connections = 0

    @property
    def total(self) -> int:
        return sum(self.commands.values())


class _Proxy:
    def __init__(self, counted: Counted, host: str, port: int) -> None:
        self.counted, self._host, self._port = counted, host, port

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream = await asyncio.open_connection(self._host, self._port)
        self.counted.connections += 1
        both = (self._requests(reader, upstream), self._answers(upstream_reader, writer))
        with suppress(ConnectionError, asyncio.CancelledError):  # cancelled: the proxy closes
            await asyncio.wait([asyncio.create_task(way) for way in both], return_when=asyncio.FIRST_COMPLETED)
        for end in (writer, upstream):
            end.close()

    async def _requests(self, reader: asyncio.StreamReader, upstream: asyncio.StreamWriter) -> None:
        parser = hiredis.Reader()
        while data := await reader.read(CHUNK):
            upstream.write(data)
            parser.feed(data)
            names = []
            while (command := parser.gets()) is not False:
                names.append(command[0].decode().upper())
            counting = [name for name in names if name not in HANDSHAKE]
            self.counted.commands.update(counting)
            self.counted.trips += bool(counting)

    @staticmethod
    async def _answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK):
            writer.write(data)


@contextmanager
def counting(redis_url: str) -> Iterator[Counted]:
    """Open a proxy for the time of the block; `url` of what it gives leads through it."""
    parts = urlsplit(redis_url)
    port = free_port()
    counted = Counted(parts._replace(netloc=f"127.0.0.1:{port}").geturl())
    proxy = _Proxy(counted, parts.hostname or "127.0.0.1", parts.port or 6379)
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(proxy.serve, "127.0.0.1", port))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield counted
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
