"""Looking hosts up for requests to URLs from outside, the same for all who send one.

Who connects asks `refusal` about every address and connects to just these, so that a second look-up can't answer
otherwise. The system's resolver knows no timeout: each look-up has a thread of its own, and nobody has to wait for it.
"""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import NamedTuple

from tandem.shared.net.ssrf import check_address

Found = list[str] | OSError  # addresses, each once


class Refusal(NamedTuple):
    """An address that no request may go to, and why."""

    address: str
    reason: str


def refusal(addresses: Iterable[str], *, allow_private: bool) -> Refusal | None:
    """Find the first of a host's addresses that is not globally routable; `allow_private` lets all pass."""
    for address in () if allow_private else addresses:
        if reason := check_address(address):
            return Refusal(address, reason)
    return None


def resolve(host: str, port: int, *, patience: float) -> list[str]:
    """Look a host up, for at most `patience` seconds.

    Raises:
        TimeoutError: there was no answer in time.
        OSError: there is no such host, or nobody could say.

    """
    answers: SimpleQueue[Found] = SimpleQueue()
    _start(host, port, answers.put)
    try:
        found = answers.get(timeout=patience)
    except Empty:
        raise TimeoutError from None
    if isinstance(found, OSError):
        raise found
    return found


def resolve_soon(host: str, port: int) -> "asyncio.Future[Found]":
    """Begin to look a host up. The future is done when the look-up is, also if nobody waits for it any more."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Found] = loop.create_future()

    def tell(found: Found) -> None:
        if not future.done():
            future.set_result(found)

    def told(found: Found) -> None:
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(tell, found)

    _start(host, port, told)
    return future


def _start(host: str, port: int, told: Callable[[Found], None]) -> None:
    threading.Thread(target=lambda: told(_look_up(host, port)), name="lookup", daemon=True).start()


def _look_up(host: str, port: int) -> Found:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        return error
    except UnicodeError as error:  # a label that is empty or too long
        return OSError(str(error))
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
