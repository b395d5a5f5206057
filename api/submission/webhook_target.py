"""Whether a webhook may be sent to a URL, as far as it can be told at submit; the connection checks again."""

import asyncio
from collections.abc import Sequence

from tandem.api.server.errors import Invalid
from tandem.shared.config.api_keys import ApiKey
from tandem.shared.net.resolver import refusal, resolve_soon
from tandem.shared.net.ssrf import RefusedUrl, Target, check_url

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
        if refused := refusal(await self._addresses(target), allow_private=False):
            raise Invalid("query", "webhook_url", f"its host has an address that is {refused.reason}")

    async def _addresses(self, target: Target) -> Sequence[str]:
        try:
            async with asyncio.timeout(PATIENCE):
                await self._slots.acquire()
                looking = resolve_soon(target.host, target.port)
                looking.add_done_callback(lambda _: self._slots.release())
                found = await asyncio.shield(looking)  # it holds its place until it is done
        except TimeoutError:
            return ()
        return () if isinstance(found, OSError) else found


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
