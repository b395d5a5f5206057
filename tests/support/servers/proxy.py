"""A proxy between a client and a server on Unix sockets: a network that is slow, loses a direction, or is cut.

It runs its own event loop in a thread, so it goes on whatever the test's loop or thread does.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path

PIECE = 65536


class Way(StrEnum):
    """A direction."""

    UP = "up"  # from clients to the server
    DOWN = "down"


def _pass(_: bytes) -> None:
    """Heed nothing."""


def _as_it_is(piece: bytes) -> bytes:
    return piece


async def _let_the_loop_turn() -> None:
    """Let callbacks run, and those that they schedule: from an accepted connection to its close are five."""
    for _ in range(10):
        await asyncio.sleep(0)


@contextmanager
def _aborting(writer: asyncio.StreamWriter) -> Iterator[None]:
    try:
        yield
    finally:
        writer.transport.abort()


class Proxy:
    """Passes on what clients of `path` and the server behind `upstream` say. What is set holds at once, for all."""

    def __init__(self, path: Path, upstream: Path) -> None:
        self.path, self._upstream = path, upstream
        self.url = f"unix://{path}?db=0"
        self.delay = 0.0  # seconds for each piece, either way
        self.before: Callable[[bytes], None] = _pass  # is shown what a client says before the server hears it
        self.after: Callable[[bytes], bytes] = _as_it_is  # makes of what the server says what a client hears
        self.passed = {Way.UP: 0, Way.DOWN: 0}  # bytes
        self.held = {Way.UP: 0, Way.DOWN: 0}  # bytes that came while their way was closed
        self._open = {way: asyncio.Event() for way in Way}
        self._left: int | None = None  # bytes of answers that are let pass before all is cut
        self._links: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._stranded = set[asyncio.StreamWriter]()
        self._is_over = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> None:
        """Listen."""
        self._thread.start()
        self.partition()
        listening = asyncio.start_unix_server(self._accept, self.path)
        self._server = asyncio.run_coroutine_threadsafe(listening, self._loop).result()

    def stop(self) -> None:
        """Cut everything and end."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def partition(self, *ways: Way) -> None:
        """Let nothing pass these ways: no byte, and no end of a connection. None: all pass again."""
        for way, is_open in self._open.items():
            self._loop.call_soon_threadsafe(is_open.clear if way in ways else is_open.set)

    def cut(self) -> None:
        """Close all connections as they are."""
        self._loop.call_soon_threadsafe(self._cut)

    def cut_within(self, answers: int) -> None:
        """Let so many bytes of answers pass, then close all connections in the midst."""
        self._left = answers

    def strand(self) -> None:
        """Let nothing pass on the connections there are, for ever, and tell nobody; new ones are served."""
        self._loop.call_soon_threadsafe(self._stranded.update, self._links)

    async def _end(self) -> None:
        self._is_over = True  # or who is cut comes again, and is being served when the loop is closed
        self.path.unlink()
        self._cut()
        await _let_the_loop_turn()  # who has come is turned away
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await _let_the_loop_turn()  # what was cut is closed

    def _cut(self) -> None:
        for writer in self._links:
            writer.transport.abort()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_over:
            writer.transport.abort()
            return
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError), _aborting(writer):
            far_reader, far_writer = await asyncio.open_unix_connection(self._upstream)
            with _aborting(far_writer):
                self._links |= {writer, far_writer}
                ways = self._pump(Way.UP, reader, far_writer), self._pump(Way.DOWN, far_reader, writer)
                pumps = [asyncio.create_task(way) for way in ways]
                _, rest = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                for pump in rest:
                    pump.cancel()
                self._links -= {writer, far_writer}

    async def _pump(self, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await reader.read(PIECE):
                await asyncio.sleep(self.delay)
                if not self._open[way].is_set():
                    self.held[way] += len(piece)
                await self._open[way].wait()
                if writer in self._stranded:
                    await asyncio.Event().wait()
                await self._send(way, piece, writer)

    async def _send(self, way: Way, piece: bytes, writer: asyncio.StreamWriter) -> None:
        if way is Way.UP:
            await asyncio.to_thread(self.before, piece)
        else:
            piece = self.after(piece)
            if self._left is not None:
                piece, self._left = piece[: self._left], self._left - len(piece)
        writer.write(piece)
        await writer.drain()
        self.passed[way] += len(piece)
        if way is Way.DOWN and self._left is not None and self._left <= 0:
            self._left = None
            self._cut()


@contextmanager
def proxied(path: Path, upstream: Path) -> Iterator[Proxy]:
    """Run a proxy at `path` before the server at `upstream`."""
    proxy = Proxy(path, upstream)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
