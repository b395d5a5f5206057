"""Sending a file: whole or a range of it (RFC 9110), straight from the store."""

import re
from collections.abc import AsyncIterator
from urllib.parse import quote

import obstore
from fastapi import Response
from fastapi.responses import StreamingResponse
from obstore.store import ObjectStore

from tandem.api.server.errors import NotFound, RangeNotSatisfiable
from tandem.shared.jobs.model import Artefact
from tandem.shared.storage.artifacts import answering

CHUNK = 256 * 1024
RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


def etag(file: Artefact) -> str:
    """Give a strong validator: the content's hash."""
    return f'"{file.sha256}"'


async def answer(files: ObjectStore, file: Artefact, *, range_: str | None, if_none_match: str | None) -> Response:
    """Build the answer: 200, 206, 304 or 416; 404 if the file was cleaned up, 503 if the store does not answer."""
    headers = {
        "ETag": etag(file),
        "Accept-Ranges": "bytes",
        "Content-Disposition": disposition(file.name),
        "Cache-Control": "private, no-cache",
        "X-Content-Type-Options": "nosniff",
    }
    if if_none_match and (if_none_match.strip() == "*" or etag(file) in if_none_match):
        return Response(status_code=304, headers=headers)
    start, end, status = 0, file.bytes, 200
    if range_ and (wanted := parse(range_)):
        start, end = span(*wanted, file.bytes)
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{file.bytes}"
        status = 206
    headers["Content-Length"] = str(end - start)
    body = _stream(files, file.key, start, end)
    try:
        first = await anext(body, b"")
    except FileNotFoundError:
        raise NotFound("the file was cleaned up") from None
    return StreamingResponse(_chain(first, body), status, headers, file.media_type)


def parse(header: str) -> tuple[str, str] | None:
    """Read a `Range` header; None for what RFC 9110 says to ignore, such as a span that ends before it begins."""
    match = RANGE.fullmatch(header.strip())
    if not match or not (match[1] or match[2]) or (match[1] and match[2] and int(match[2]) < int(match[1])):
        return None
    return match[1], match[2]


def span(first: str, last: str, size: int) -> tuple[int, int]:
    """Give the half-open span of a byte range. 416 if it lies outside of the file."""
    if first:
        start, end = int(first), min(int(last) + 1, size) if last else size
    else:
        start, end = max(0, size - int(last)), size
    if start >= end:
        raise RangeNotSatisfiable("the range lies outside of the file", {"Content-Range": f"bytes */{size}"})
    return start, end


def disposition(name: str) -> str:
    """Quote a file name for `Content-Disposition` (RFC 6266)."""
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


async def _stream(files: ObjectStore, key: str, start: int, end: int) -> AsyncIterator[bytes]:
    while start < end:
        stop = min(start + CHUNK, end)
        with answering():
            piece = bytes(await obstore.get_range_async(files, key, start=start, end=stop))
        yield piece
        start = stop


async def _chain(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk
