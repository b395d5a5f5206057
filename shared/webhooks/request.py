"""One webhook request: signed (Standard Webhooks, https://www.standardwebhooks.com), bounded, to public hosts only."""

import json
import random
import socket
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from standardwebhooks import Webhook

from tandem.shared.errors import FinalError
from tandem.shared.jobs.model import Job, iso
from tandem.shared.jobs.view import links_of, message_id, render
from tandem.shared.net.resolver import refusal, resolve_soon
from tandem.shared.net.ssrf import RefusedUrl, check_url
from tandem.shared.store.deliveries import Delivery, Outcome, Verdict
from tandem.shared.types.backoff import Backoff

TIMEOUT = timedelta(seconds=15)  # for the whole request
GIVE_UP = timedelta(hours=24)
BACKOFF = Backoff(base=timedelta(seconds=2), cap=timedelta(hours=1))
FORMERLY = "/v1/jobs/"  # where jobs are that the version before has stored, which kept no URL; goes with the next one
GONE = 410
SHOWN = 200


class PublicResolver(AbstractResolver):
    """Resolves a name and refuses every address that is not global: the client connects to just these."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private

    async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_UNSPEC) -> list[ResolveResult]:
        """Look a host up. Raises RefusedUrl, or OSError: there is no such host."""
        found = await resolve_soon(host, port)
        if isinstance(found, OSError):
            raise found
        if refused := refusal(found, allow_private=self._allow_private):
            raise RefusedUrl(host, f"its address is {refused.reason}")
        results = [_result(host, port, address) for address in found]
        return [result for result in results if family in {socket.AF_UNSPEC, result["family"]}]

    async def close(self) -> None:
        """Nothing is kept open."""


def _result(host: str, port: int, address: str) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=flags)


def session(*, allow_private: bool) -> aiohttp.ClientSession:
    """Open the one client of all deliveries: no cookies, no proxy of the environment, no kept connections."""
    resolver = PublicResolver(allow_private=allow_private)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(resolver=resolver, limit=0, force_close=True, use_dns_cache=False),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=TIMEOUT.total_seconds()),
        trust_env=False,
    )


def body(delivery: Delivery, job: Job) -> str:
    """Write what a receiver gets: the job as it ended."""
    links = links_of(job.url or FORMERLY + job.id, file=job.file is not None)
    head = json.dumps({"type": delivery.event, "timestamp": iso(delivery.at)}).removesuffix("}")
    data = b"".join(render(job, links, without={"deliveries": True})).decode(errors="replace")
    return f'{head}, "data": {data}}}'


def headers(delivery: Delivery, content: str, secret: str) -> dict[str, str]:
    """Sign. The id is the delivery's, the same in every try, so that a receiver can drop a repeat."""
    message, now = message_id(delivery.id), datetime.now(UTC)
    return {
        "Content-Type": "application/json",
        "User-Agent": "Tandem-Webhooks/1",
        "webhook-id": message,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(message, now, content),
    }


async def post(
    client: aiohttp.ClientSession, delivery: Delivery, content: str, *, secret: str, allow_private: bool
) -> Verdict:
    """Send one try and judge the answer."""
    try:
        check_url(delivery.url, schemes=("https", "http"), allow_private=allow_private)
        signed = headers(delivery, content, secret)
        request = client.post(delivery.url, data=content.encode(), headers=signed, allow_redirects=False)
        async with request as response:
            return judge(delivery, response.status, response.headers.get("retry-after"))
    except aiohttp.InvalidURL:
        return Verdict(Outcome.FAILED, error="the client does not take this URL")
    except FinalError as error:
        return Verdict(Outcome.FAILED, error=str(error)[:SHOWN])
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        if refused := _refusal(error):
            return Verdict(Outcome.FAILED, error=refused.message[:SHOWN])
        return again(delivery, None, f"{type(error).__name__}: {_said(error)}"[:SHOWN])


def _said(error: Exception) -> str:
    """Say on one line what went wrong, without the URL: its query may hold a secret."""
    text = error.message if isinstance(error, aiohttp.ClientResponseError) else str(error)
    return " ".join(text.split())


def judge(delivery: Delivery, status: int, retry_after: str | None) -> Verdict:
    """2xx is taken, 410 wants no more; anything else, a redirect too, is tried again."""
    if 200 <= status < 300:  # noqa: PLR2004
        return Verdict(Outcome.DELIVERED, status)
    if status == GONE:
        return Verdict(Outcome.FAILED, status, "the receiver is gone (410)")
    return again(delivery, status, f"HTTP {status}", at_least=_wished(retry_after))


def _wished(retry_after: str | None) -> timedelta:
    """Wait as a receiver asks for, in seconds, but no longer than between any two tries."""
    if not retry_after or not retry_after.isdecimal():
        return timedelta(0)
    digits = retry_after.lstrip("0")
    longest = int(BACKOFF.cap.total_seconds())
    return timedelta(seconds=min(int(digits or 0), longest) if len(digits) <= len(str(longest)) else longest)


def again(delivery: Delivery, status: int | None, error: str, *, at_least: timedelta = timedelta(0)) -> Verdict:
    """Back off exponentially with jitter, for 24 hours."""
    if datetime.now(UTC) - delivery.at > GIVE_UP:
        return Verdict(Outcome.FAILED, status, f"given up after 24 h: {error}")
    wait = BACKOFF.delay(delivery.attempt, jitter=random.random())  # noqa: S311 - no secret
    return Verdict(Outcome.PENDING, status, error, max(wait, at_least))


def _refusal(error: BaseException) -> RefusedUrl | None:
    """Find our own refusal under what the client made of it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, RefusedUrl):
            return cause
        cause = cause.__cause__ or cause.__context__
    return None
