"""Operations of one script, sent together: what is posted during a round trip goes with the next one."""

import asyncio
import logging

from tandem.shared.store.executor import AsyncBook
from tandem.shared.store.limits.operations import Operation, Said, operate

log = logging.getLogger("tandem.limiter")

MOST = 30  # operations a round trip: the script must stay short


class Batch:
    """Runs operations in the order in which they were posted, one round trip at a time.

    Operations must bear repetition:
    while Redis is away they are sent again and again until it has taken them.
    """

    def __init__(self, book: AsyncBook) -> None:
        self._book = book
        self._posted: list[tuple[Operation, asyncio.Future[Said]]] = []
        self._sender: asyncio.Task[None] | None = None

    def post(self, operation: Operation) -> asyncio.Future[Said]:
        """Take an operation; awaiting the answer is up to the caller."""
        answer: asyncio.Future[Said] = asyncio.get_running_loop().create_future()
        self._posted.append((operation, answer))
        if self._sender is None:
            self._sender = asyncio.create_task(self._send_all())
        return answer

    async def drain(self, timeout: float) -> None:  # noqa: ASYNC109 - what is not sent by then comes back by its lease
        """Wait until everything posted is done, or drop it."""
        if self._sender is not None:
            _, late = await asyncio.wait([self._sender], timeout=timeout)
            for sender in late:
                sender.cancel()

    async def _send_all(self) -> None:
        try:
            while self._posted:
                batch, self._posted = self._posted[:MOST], self._posted[MOST:]
                await self._send(batch)
        finally:
            self._sender = None

    async def _send(self, batch: list[tuple[Operation, asyncio.Future[Said]]]) -> None:
        try:
            answers = await self._book.insist(operate([operation for operation, _ in batch]))
        except Exception as error:
            log.exception("the limiter's script failed")
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
                    future.exception()  # seen: a settlement has nobody who would look
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():
                future.set_result(answer)
