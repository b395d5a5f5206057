"""Whether a webhook may be sent to a URL, as far as it can be told at submit; the connection checks again."""

import asyncio
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress

from tandem.api.server.errors import Invalid
from tandem.shared.config.api_keys import ApiKey
from tandem.shared.net.ssrf import RefusedUrl, Target, check_address, check_url

SCHEMES = ("https", "http")
PATIENCE = 2.0  # seconds for the look-up of a name
LOOKUPS = 8  # at once

UNSIGNED = "no webhooks are sent here: there is no TANDEM_WEBHOOK_SECRET to sign them with"


class WebhookTargets:
    """Refuses URLs that webhooks may not go to. Names are looked up off the event loop.

    A name that can't be looked up in time passes: it may be there when the job has ended, and no
    connection is made to an address that was not checked.
    """

    def __init__(self, *, allow_private: bool, signed: bool) -> None:
        self._allow_private = allow_private
        self._signed = signed
        self._slots = asyncio.Semaphore(LOOKUPS)

    async def check(self, url: str) -> None:
        """Refuse what is not http(s) or leads to a private, loopback or link-local address, and what nobody can sign.

        Raises:
            RequestValidationError: names `webhook_url`.

        """
        if not self._signed:
            raise Invalid("query", "webhook_url", UNSIGNED)
        try:
            target = take_apart(url, allow_private=self._allow_private)
        except RefusedUrl as error:
            raise Invalid("query", "webhook_url", error.reason) from None
        if self._allow_private:
            return
        for address in await self._addresses(target):
            if reason := check_address(address):
                raise Invalid("query", "webhook_url", f"its host has an address that is {reason}")

    async def _addresses(self, target: Target) -> Sequence[str]:
        try:
            async with asyncio.timeout(PATIENCE):
                await self._slots.acquire()
                return await self._look_up(target)
        except TimeoutError:
            return ()

    def _look_up(self, target: Target) -> "asyncio.Future[list[str]]":
        """Start a thread of its own: the system's resolver knows no timeout, and nobody may have to wait for it."""
        loop = asyncio.get_running_loop()
        found: asyncio.Future[list[str]] = loop.create_future()

        def hand_over(addresses: list[str]) -> None:
            self._slots.release()
            if not found.done():
                found.set_result(addresses)

        def work() -> None:
            addresses = _resolve(target)
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(hand_over, addresses)

        threading.Thread(target=work, name="webhook-lookup", daemon=True).start()
        return found


def take_apart(url: str, *, allow_private: bool) -> Target:
    """Check what needs no look-up. Raises RefusedUrl."""
    return check_url(url, schemes=SCHEMES, allow_private=allow_private)


def check_keys(keys: Sequence[ApiKey], *, allow_private: bool, signed: bool) -> None:
    """Refuse at start what the configuration sets as a key's webhook, if it can't be sent there.

    Raises:
        ValueError: names the key.

    """
    for key in keys:
        try:
            if key.webhook_url and not signed:
                raise ValueError(f"keys.{key.name}.webhook_url: {UNSIGNED}")
            if key.webhook_url:
                take_apart(key.webhook_url, allow_private=allow_private)
        except RefusedUrl as error:
            raise ValueError(f"keys.{key.name}.webhook_url: {error.reason}") from None


def _resolve(target: Target) -> list[str]:
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [str(address[0]) for *_, address in found]
