"""The only file that imports the SDK: one HTTP client of one provider."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import aiohttp
import httpx2
import openai

from llm_worker.endpoints import Endpoint
from llm_worker.gate import Exchange
from llm_worker.refusal import Refusal, quotes, to_error
from shared.errors import AttemptTimeout, TransientError

# Servers close idle connections after 5 s (uvicorn's default): leave them first, or a request meets a closed socket.
KEEPALIVE = 4.0
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
OPENAI = "api.openai.com"


class Client:
    """Sends requests to one provider. Every failure is raised as a JobError; `refusal.py` lists those of refusals.

    provider_timeout      transient  no complete answer within the endpoint's time-out   AttemptTimeout
    provider_unavailable  transient  no connection, or it broke
    """

    def __init__(self, sdk: openai.AsyncOpenAI, endpoint: Endpoint) -> None:
        self._sdk = sdk
        self._endpoint = endpoint

    @classmethod
    def open(cls, endpoint: Endpoint) -> Self:
        """Prepare the client; nothing is sent yet."""
        timeout = endpoint.timeout.total_seconds()
        http = openai.DefaultAioHttpClient(
            timeout=timeout,
            # Jobs are bounded already; None would fall back to aiohttp's own limit of 100, 0 means no limit.
            limits=httpx2.Limits(max_connections=0, keepalive_expiry=KEEPALIVE),
            # A proxy of the environment can't reach the local stand-in.
            trust_env=endpoint.host not in LOOPBACK,
        )
        sdk = openai.AsyncOpenAI(
            base_url=endpoint.base_url, api_key=endpoint.key, http_client=http, timeout=timeout, max_retries=0
        )
        if endpoint.host != OPENAI:
            # The SDK takes these from the environment; they are no business of anybody else.
            sdk.organization = sdk.project = None
        return cls(sdk, endpoint)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._sdk.close()

    async def post(self, path: str, body: dict[str, Any], exchange: Exchange, private: tuple[str, ...]) -> bytes:
        """Send `body` and read the whole answer; `private` are texts that no error message may repeat."""
        with self._failures(exchange, private):
            exchange.sent = True
            # The SDK's time-out starts anew with every byte; this one is for the whole answer.
            async with asyncio.timeout(self._endpoint.timeout.total_seconds()):
                response = await self._sdk.post(path, body=body, cast_to=httpx2.Response)
        exchange.status, exchange.headers = response.status_code, response.headers
        return response.content

    @contextmanager
    def _failures(self, exchange: Exchange, private: tuple[str, ...]) -> Iterator[None]:
        """Turn what the SDK raises into a JobError."""
        private = (self._endpoint.key, *private)
        try:
            yield
        except openai.APIStatusError as error:
            exchange.status, exchange.headers = error.status_code, error.response.headers
            refusal = Refusal(status=error.status_code, headers=error.response.headers, body=error.body)
            raise to_error(refusal, private=private) from None
        except TimeoutError:
            raise self._timed_out() from None
        except (openai.APIError, httpx2.HTTPError, aiohttp.ClientError, OSError) as error:
            causes = list(_causes(error))
            # aiohttp's transport reports some broken connections as time-outs: the first cause knows.
            if any(isinstance(cause, TimeoutError) for cause in causes):
                raise self._timed_out() from None
            said = str(causes[-1])[:200]
            shown = type(causes[-1]).__name__ + ("" if quotes(said, private) else f": {said}")
            name = self._endpoint.name
            raise TransientError(f"no answer from {name}: {shown}", type="provider_unavailable") from None

    def _timed_out(self) -> AttemptTimeout:
        name, seconds = self._endpoint.name, self._endpoint.timeout.total_seconds()
        return AttemptTimeout(f"no complete answer from {name} within {seconds:g} s", type="provider_timeout")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Walk from an exception to its first cause."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__
