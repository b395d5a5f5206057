"""Streamed text on its way to the job's events: many small pieces, few writes."""

import asyncio
import logging
from datetime import timedelta
from types import TracebackType
from typing import Protocol, Self

EVERY = timedelta(milliseconds=50)
PATIENCE = timedelta(seconds=5)
log = logging.getLogger("tandem.llm_worker")


class Emit(Protocol):
    """Writes one delta; `first` of an answer. False: the lease is lost, nobody reads on."""

    async def __call__(self, text: str, *, first: bool) -> bool: ...


class Deltas:
    """The deltas of one answer, for the time of an `async with` block.

    At most one write is under way, and one every `EVERY` begins; each takes all that has come meanwhile. Adding never
    waits. A write that fails or takes longer than `PATIENCE` is the last one: what readers have is then the beginning
    of the answer, without a gap or a repeat, and the finished job has all of it. Leaving the block waits for the last
    write, but not if the answer failed.
    """

    def __init__(self, emit: Emit, *, every: timedelta = EVERY, patience: timedelta = PATIENCE) -> None:
        self._added: list[str] = []
        self._emit = emit
        self._every = every.total_seconds()
        self._patience = patience.total_seconds()
        self._texts: list[str] = []
        self._first = True
        self._silent = False
        self._closing = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    def add(self, text: str) -> None:
        """Take a piece of text."""
        if not text:
            return
        self._added.append(text)
        if self._silent:
            return
        self._texts.append(text)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())

    @property
    def text(self) -> str:
        """All that was added."""
        return "".join(self._added)

    async def _write(self) -> None:
        while self._texts and not self._silent:
            text, self._texts = "".join(self._texts), []
            await self._put(text)
            try:
                await asyncio.wait_for(self._closing.wait(), self._every)
            except TimeoutError:
                continue

    async def _put(self, text: str) -> None:
        try:
            async with asyncio.timeout(self._patience):
                self._silent = not await self._emit(text, first=self._first)
        except Exception as error:  # noqa: BLE001 - the answer matters more than who watches it come
            log.warning("no more deltas of this answer: %s", error or type(error).__name__)
            self._silent = True
        self._first = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._writer is None:
            return
        if kind is not None:
            self._writer.cancel()
            return
        self._closing.set()
        await self._writer
