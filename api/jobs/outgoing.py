"""Large results on their way out.

One that is a file goes out as it is read. One that is in Redis, as an older version or plain RQ has left it, is read
once for all who ask for it, and not too many bytes at a time: a reader may be slow, and each would hold a result of
many megabytes until it has read the last of them.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Annotated, NamedTuple

from fastapi import Depends, Response
from fastapi.responses import StreamingResponse
from obstore.store import ObjectStore
from starlette.types import Receive, Scope, Send

from tandem.api.dependencies import from_state
from tandem.api.jobs.view import CHUNK, JSON, json_answer, write
from tandem.api.server.errors import NotFound
from tandem.api.server.room import Room
from tandem.shared.config.api_keys import ApiKey
from tandem.shared.errors import ServiceError
from tandem.shared.jobs.model import Artefact, Job
from tandem.shared.storage import artifacts
from tandem.shared.store import commands
from tandem.shared.store.executor import AsyncBook
from tandem.shared.store.scripts import Call

log = logging.getLogger("tandem.api")

ROOM = 256 * 1024 * 1024  # bytes of results that a gateway holds at once
PATIENCE = 10.0  # seconds that a reader waits for room
COME_AGAIN = 5  # seconds after which who found none may come again
TIME, SLOWEST = 60.0, 64 * 1024  # seconds to read an answer, and a second for so many bytes: room is everybody's


class Version(NamedTuple):
    """A job's result; the job may run again and have another one."""

    id: str
    finished_at: datetime | None
    bytes: int


@dataclass
class Shared:
    """One read and those who share it."""

    task: asyncio.Task[None] | None = None
    job: asyncio.Future[Job] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    readers: int = 0
    left: asyncio.Event = field(default_factory=asyncio.Event)


def read(job_id: str) -> Call[Job | None]:
    """Read a job; a large result is left out, and added when the answer goes out (`Outgoing.answer`)."""
    return commands.fetch_bounded(job_id, most=CHUNK)


class Outgoing:
    """The answers of one gateway process that carry a job."""

    def __init__(self, book: AsyncBook, files: ObjectStore, *, room: int = ROOM, patience: float = PATIENCE) -> None:
        self._book = AsyncBook(book.client)  # on its own: small answers shall not wait for large ones
        self.files = files
        self._room = Room(room)
        self._patience = patience
        self._shared: dict[Version, Shared] = {}

    def answer(
        self,
        job: Job,
        status: int = 200,
        headers: dict[str, str] | None = None,
        *,
        caller: ApiKey,
        more: Mapping[str, bytes] | None = None,
        may_omit: bool = False,
    ) -> Response:
        """Make the answer. A large result is read when it goes out; with `may_omit` it is left out where room lacks."""
        if not job.result_omitted:
            return json_answer(write(job, caller, more), status, headers)
        return LargeAnswer(self, job, status, headers, caller=caller, more=more, may_omit=may_omit)

    @asynccontextmanager
    async def whole(self, job: Job) -> AsyncIterator[Job]:
        """Give the job with its result, for as long as the block lasts, to all who ask for the same at one time.

        Raises:
            NotFound: it was erased meanwhile.
            FileNotFoundError: the result's file is gone.
            ServiceError: there is no room, no Redis, or no store of files.

        """
        version = Version(job.id, job.finished_at, job.result_bytes)
        if (shared := self._shared.get(version)) is None:
            shared = self._shared[version] = Shared()
            shared.task = asyncio.create_task(self._carry(shared, version), name=f"result of {job.id}")
        shared.readers += 1
        try:
            yield await asyncio.shield(shared.job)
        finally:
            shared.readers -= 1
            if not shared.readers:
                self._forget(shared, version)
                shared.left.set()

    async def _carry(self, shared: Shared, version: Version) -> None:
        """Read a result, and hold its room until the last of its readers has left."""
        try:
            async with self._room.take(version.bytes, patience=self._patience):
                if shared.readers:
                    shared.job.set_result(await self._fetch(version.id))
                    await shared.left.wait()
        except TimeoutError:
            self._fail(shared, version, ServiceError("too many large results are being read", retry_after=COME_AGAIN))
        except Exception as error:  # noqa: BLE001 - whatever it is, each reader has to hear of it
            self._fail(shared, version, error)

    async def _fetch(self, job_id: str) -> Job:
        if (job := await self._book.run_large(commands.fetch(job_id))) is None:
            raise NotFound("the job was erased")
        if job.result_file is None:
            return replace(job, result_lost=job.result_omitted)
        pieces = [piece async for piece in await artifacts.stream(self.files, job.result_file, chunk=CHUNK)]
        return replace(job, result_json=b"".join(pieces))

    def _fail(self, shared: Shared, version: Version, error: Exception) -> None:
        self._forget(shared, version)  # who comes later tries anew
        shared.job.set_exception(error)
        shared.job.exception()  # it is known, also if nobody is left to hear of it

    def _forget(self, shared: Shared, version: Version) -> None:
        if self._shared.get(version) is shared:
            del self._shared[version]


class LargeAnswer(Response):
    """An answer whose result is read when it goes out."""

    media_type = JSON

    def __init__(
        self,
        outgoing: Outgoing,
        job: Job,
        status: int,
        headers: dict[str, str] | None,
        *,
        caller: ApiKey,
        more: Mapping[str, bytes] | None,
        may_omit: bool,
    ) -> None:
        super().__init__(None, status, headers)
        self._outgoing, self._job, self._sent = outgoing, job, headers
        self._caller, self._more, self._may_omit = caller, more, may_omit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with AsyncExitStack() as stack:
            try:
                answer = await stack.enter_async_context(self._complete())
            except FileNotFoundError:
                log.warning("its result is not in the store of files (TANDEM_FILES_URL)", extra={"job": self._job.id})
                answer = self._rendered(replace(self._job, result_lost=True))
            except ServiceError:
                if not self._may_omit:
                    raise
                answer = self._rendered(self._job)
            await self._within(TIME + self._job.result_bytes / SLOWEST, answer, scope, receive, send)

    @asynccontextmanager
    async def _complete(self) -> AsyncIterator[Response]:
        if self._job.result_file and not self._job.file:  # else the file's link has to be put into the result
            yield await self._streamed(self._job.result_file)
        else:
            async with self._outgoing.whole(self._job) as job:
                yield self._rendered(job)

    async def _streamed(self, file: Artefact) -> Response:
        content = await artifacts.stream(self._outgoing.files, file, chunk=CHUNK)
        head, _, *rest = write(replace(self._job, result_json=b""), self._caller, self._more)
        tail = b"".join(rest)
        sent = {**(self._sent or {}), "Content-Length": str(len(head) + file.bytes + len(tail))}
        return StreamingResponse(_around(head, content, tail), self.status_code, sent, media_type=JSON)

    def _rendered(self, job: Job) -> Response:
        return json_answer(write(job, self._caller, self._more), self.status_code, self._sent)

    async def _within(self, seconds: float, answer: Response, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(seconds):
                await answer(scope, receive, send)
        except TimeoutError:
            log.warning("%s: dropped, its reader did not take it within %.0f s", scope["path"], seconds)


async def _around(head: bytes, content: AsyncIterator[bytes], tail: bytes) -> AsyncIterator[bytes]:
    yield head
    async for piece in content:
        yield piece
    yield tail


TheOutgoing = Annotated[Outgoing, Depends(from_state("outgoing", ServiceError))]
