"""A job as an answer."""

from collections.abc import AsyncIterator, Iterable, Mapping

from fastapi import Response
from fastapi.responses import StreamingResponse

from tandem.api.links import links
from tandem.api.server.errors import NotFound
from tandem.shared.config.api_keys import ApiKey, Role
from tandem.shared.errors import UnreadableRecord
from tandem.shared.jobs.model import Job
from tandem.shared.jobs.view import render

CHUNK = 256 * 1024  # bytes that go out at once: between two of them others have their turn
JSON = "application/json"


def write(job: Job, caller: ApiKey | None = None, more: Mapping[str, bytes] | None = None) -> list[bytes]:
    """Write a record with this API's links, in pieces, as `caller` may see it. What was stored is not decoded.

    Raises NotFound: it can't be read.
    """
    try:
        return render(job, links(job), more=more, admin=caller is not None and caller.role is Role.ADMIN)
    except (ValueError, TypeError) as error:
        raise NotFound(str(UnreadableRecord(type(error).__name__, owner=job.owner))) from error


def answer(
    job: Job,
    status: int = 200,
    headers: dict[str, str] | None = None,
    *,
    caller: ApiKey | None = None,
    more: Mapping[str, bytes] | None = None,
) -> Response:
    """Make the answer. A large one goes out as fast as it is read."""
    return json_answer(write(job, caller, more), status, headers)


def json_answer(pieces: list[bytes], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Make an answer of the pieces of its JSON."""
    size = sum(map(len, pieces))
    if size <= CHUNK:
        return Response(b"".join(pieces), status, headers, media_type=JSON)
    sent = {**(headers or {}), "Content-Length": str(size)}
    return StreamingResponse(in_chunks(pieces), status, sent, media_type=JSON)


async def in_chunks(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    """Cut pieces that are too large to go out at once."""
    for piece in pieces:
        for start in range(0, len(piece), CHUNK):
            yield piece[start : start + CHUNK]
