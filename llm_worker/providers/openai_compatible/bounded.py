"""How much of an answer is read at most: a server that never stops must not fill the worker's memory."""

from collections.abc import AsyncIterator

import httpx2

MOST_BYTES = 64 * 1024 * 1024  # as they come over the wire; 2,048 vectors of 3,072 numbers in base64 are 34 MB


class AnswerTooLarge(Exception):
    """The body is longer than MOST_BYTES."""


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = MOST_BYTES
        async for piece in self._stream:
            left -= len(piece)
            if left < 0:
                raise AnswerTooLarge
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()


async def bound(response: httpx2.Response) -> None:
    """Let its body, which nobody has read yet, end with AnswerTooLarge: a hook for responses of an HTTP client."""
    if isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _Bounded(response.stream)
