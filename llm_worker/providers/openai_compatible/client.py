"""The only file that imports the SDK: one HTTP client of one provider."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import httpx2
import openai
import structlog

from tandem.llm_worker.providers.base import Call, Endpoint, OnPiece
from tandem.llm_worker.providers.openai_compatible.bounded import MOST_BYTES, AnswerTooLarge, bound
from tandem.llm_worker.providers.openai_compatible.errors import quotes
from tandem.llm_worker.rate_limit.gate import Exchange
from tandem.shared.errors import AttemptTimeout, FinalError, JobError, TransientError, Unreachable

# Servers close idle connections after 5 s (uvicorn's default): leave them first, or a request meets a closed socket.
KEEPALIVE = 4.0
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
OPENAI = "api.openai.com"
TRACEABLE = re.compile(r"[A-Za-z0-9._-]{1,100}")  # nothing else may become a header
LINGER = 0.5  # seconds for the end of a body that has said all
UNDER_WAY: ContextVar[Exchange] = ContextVar("the request that is being sent")
BROKEN = (httpx2.HTTPError, aiohttp.ClientError, OSError)  # what a broken connection is; TimeoutError is an OSError


class Client:
    """Sends requests to one provider. What it answers, with whatever status, is given; the rest is raised.

    provider_timeout      transient  no complete answer in time   Unreachable; AttemptTimeout if a part of it had come
    answer_too_large      final      a body of more than MOST_BYTES
    provider_unavailable  transient  no connection, or it broke   Unreachable; TransientError if a part of it had come
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
            event_hooks={"response": [bound]},
        )
        _trace(http)
        address = urlsplit(endpoint.base_url)  # the SDK would put a path behind the query
        sdk = openai.AsyncOpenAI(
            base_url=address._replace(query="").geturl(),
            default_query=dict(parse_qsl(address.query, keep_blank_values=True)),
            api_key=endpoint.key,
            http_client=http,
            timeout=timeout,
            max_retries=0,
        )
        if endpoint.host != OPENAI:
            # The SDK takes these from the environment; they are no business of anybody else.
            sdk.organization = sdk.project = None
        return cls(sdk, endpoint)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._sdk.close()

    async def send(self, call: Call[Any], exchange: Exchange) -> bytes:
        """Send a request and read the whole answer."""
        with self._failures(call, exchange):
            # The SDK's time-out starts anew with every byte; this one is for the whole answer.
            async with asyncio.timeout(self._endpoint.timeout.total_seconds()):
                try:
                    response = await self._sdk.post(
                        call.path, body=call.body, cast_to=httpx2.Response, options=_traced()
                    )
                except openai.APIStatusError as error:
                    response = error.response
            return _whole(response, exchange)

    async def stream(self, call: Call[Any], exchange: Exchange, on_piece: OnPiece) -> bytes | None:
        """Send a request and give `on_piece` the body as it comes, None at its end, until it has had enough.

        An error, and the answer of a server that does not stream after all, is given whole; otherwise this is None.
        """
        with self._failures(call, exchange):
            async with asyncio.timeout(self._endpoint.timeout.total_seconds()):
                try:
                    stream = await self._sdk.post(
                        call.path,
                        body=call.body,
                        cast_to=object,
                        options=_traced(),
                        stream=True,
                        stream_cls=openai.AsyncStream[object],
                    )
                except openai.APIStatusError as error:
                    return _whole(error.response, exchange)
                response = stream.response
                exchange.status, exchange.headers = response.status_code, response.headers
                try:
                    if response.headers.get("content-type", "").lower().startswith("application/json"):
                        return await response.aread()
                    await self._read(response, on_piece)
                finally:
                    await response.aclose()
        return None

    async def _read(self, response: httpx2.Response, on_piece: OnPiece) -> None:
        """Read until `on_piece` has had enough. The SDK's own reader is not used: to it a missing end is an end.

        The first piece may take as long as a whole answer, for models that think first; the next ones may not stall.
        """
        pieces = aiter(response.aiter_bytes())
        stall, enough = None, False
        while not enough:
            try:
                async with asyncio.timeout(stall) as limit:
                    piece = await anext(pieces, None)
            except TimeoutError:
                if limit.expired():
                    raise self._stalled() from None
                raise
            enough = on_piece(piece)
            if piece is None:
                return
            stall = self._endpoint.stall.total_seconds()
        # With the end of the body read the connection can be used again.
        with suppress(*BROKEN):
            async with asyncio.timeout(LINGER):
                async for _ in pieces:
                    pass

    @contextmanager
    def _failures(self, call: Call[Any], exchange: Exchange) -> Iterator[None]:
        """Turn what the SDK raises where nobody answered into a JobError."""
        token = UNDER_WAY.set(exchange)
        try:
            yield
        except TimeoutError:
            raise self._timed_out(exchange) from None
        except (openai.APIError, AnswerTooLarge, *BROKEN) as error:
            causes = list(_causes(error))
            if any(isinstance(cause, AnswerTooLarge) for cause in causes):
                raise self._too_large() from None
            refused = any(isinstance(cause, aiohttp.ClientConnectorError) for cause in causes)
            # aiohttp's transport reports some broken connections as time-outs: the first cause knows.
            if any(isinstance(cause, TimeoutError) for cause in causes) and not refused:
                raise self._timed_out(exchange) from None
            said = str(causes[-1])[:200]
            shown = type(causes[-1]).__name__ + ("" if quotes(said, call.private) else f": {said}")
            name = self._endpoint.name
            message, kind = f"no answer from {name}: {shown}", "provider_unavailable"
            if exchange.status is not None:
                raise TransientError(message, type=kind) from None
            failure = Unreachable(message, type=kind)
            failure.refused = refused
            raise failure from None
        finally:
            UNDER_WAY.reset(token)

    def _too_large(self) -> FinalError:
        most = MOST_BYTES // 1024 // 1024
        return FinalError(f"{self._endpoint.name} answered with more than {most} MB", type="answer_too_large")

    def _stalled(self) -> AttemptTimeout:
        name, seconds = self._endpoint.name, self._endpoint.stall.total_seconds()
        return AttemptTimeout(f"the stream of {name} stalled for {seconds:g} s", type="provider_timeout")

    def _timed_out(self, exchange: Exchange) -> JobError:
        name, seconds = self._endpoint.name, self._endpoint.timeout.total_seconds()
        message, kind = f"no complete answer from {name} within {seconds:g} s", "provider_timeout"
        if exchange.status is not None:
            return AttemptTimeout(message, type=kind)
        failure = Unreachable(message, type=kind)
        failure.paid = exchange.sent
        return failure


async def _note_sent(*_: object) -> None:
    """Note that a request goes out: aiohttp says so once connected, right before it writes a piece of the body."""
    UNDER_WAY.get().sent = True


def _trace(http: httpx2.AsyncClient) -> None:
    """Let aiohttp tell what was sent: a request that is cancelled, or fails, while it connects was none.

    The SDK's transports make their sessions themselves, and when they are first used.
    """
    trace = aiohttp.TraceConfig()
    trace.on_request_chunk_sent.append(_note_sent)
    trace.freeze()
    transports: list[Any] = [http._transport, *http._mounts.values()]  # noqa: SLF001 - there is no other way to them
    for transport in transports:
        if transport is not None:  # what the environment says needs no proxy
            transport.client = transport.get_client()
            transport.client.trace_configs.append(trace)


def _whole(response: httpx2.Response, exchange: Exchange) -> bytes:
    """Give the body of an answer that the SDK has read."""
    exchange.status, exchange.headers = response.status_code, response.headers
    return response.content


def _traced() -> Any:  # the SDK's RequestOptions, which it keeps private
    """Tell the provider the request id that our logs know the call by, in OpenAI's header for that."""
    request_id = str(structlog.contextvars.get_contextvars().get("request") or "")
    return {"headers": {"X-Client-Request-Id": request_id}} if TRACEABLE.fullmatch(request_id) else {}


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Walk from an exception to its first cause."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__
