"""The one door to LLM providers, and the only file that imports the SDK."""

import asyncio
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
import httpx2
import openai

from llm_worker.answers import Answer, Completion, Embeddings, parse
from llm_worker.errors import BadRequest, SchemaRefused
from llm_worker.refusal import Refusal, quotes, to_error
from shared.catalog.llm import Message
from shared.errors import AttemptTimeout, TransientError
from shared.job import Usage
from shared.settings import Settings, SettingsError

# Servers close idle connections after 5 s (uvicorn's default): leave them first, or a request meets a closed socket.
KEEPALIVE = 4.0
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
ONE_REQUEST = Usage(requests=1)

Spend = Callable[[Usage], None]


@dataclass(frozen=True, kw_only=True)
class _Request:
    """One HTTP request; `private` are texts that no error message may repeat."""

    path: str
    body: dict[str, Any]
    private: tuple[str, ...]
    spend: Spend


class Provider:
    """One OpenAI-compatible provider, shared by all jobs of a worker process.

    Every request sent is reported to the caller's `spend`, also when it fails, is cancelled or answers garbage.
    Every failure is raised as a JobError; `refusal.py` and `answers.py` list the types, and here belong

        provider_timeout      transient  no complete answer within TANDEM_LLM_TIMEOUT   AttemptTimeout
        provider_unavailable  transient  no connection, or it broke
    """

    def __init__(self, client: openai.AsyncOpenAI, settings: Settings, *, name: str) -> None:
        self.name = name
        self.takes_schemas = True
        self._client = client
        self._timeout = settings.llm_timeout.total_seconds()
        self._model = settings.model
        self._embed_model = settings.embed_model
        self._limit_name = "max_completion_tokens"

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """Prepare the client; nothing is sent yet.

        Raises:
            SettingsError: base URL or key are missing or unusable.

        """
        base_url, key = settings.llm
        host = check(base_url, key)
        http = openai.DefaultAioHttpClient(
            timeout=settings.llm_timeout.total_seconds(),
            # Jobs are bounded already; None would fall back to aiohttp's own limit of 100, 0 means no limit.
            limits=httpx2.Limits(max_connections=0, keepalive_expiry=KEEPALIVE),
            # A proxy of the environment can't reach the local stand-in.
            trust_env=host not in LOOPBACK,
        )
        timeout = settings.llm_timeout.total_seconds()
        client = openai.AsyncOpenAI(base_url=base_url, api_key=key, http_client=http, timeout=timeout, max_retries=0)
        return cls(client, settings, name=host or "openai")

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def chat(
        self,
        messages: Sequence[Message],
        *,
        spend: Spend,
        model: str | None = None,
        temperature: float | None = None,
        max_output_tokens: int | None = None,
        schema: dict[str, Any] | None = None,
    ) -> Answer:
        """Ask for one answer, with `schema` for one in JSON of that schema.

        Raises:
            SchemaRefused: the provider takes no JSON Schema, or not this one.
            JobError: anything else; see the class.

        """
        body: dict[str, Any] = {
            "model": model or self._model,
            "messages": [message.model_dump() for message in messages],
        }
        if temperature is not None:
            body["temperature"] = temperature
        if schema is not None:
            body["response_format"] = _response_format(schema)
        private = tuple(message.content for message in messages)
        request = _Request(path="/chat/completions", body=body, private=private, spend=spend)
        try:
            completion = await self._complete(request, max_output_tokens)
        except BadRequest as error:
            if schema is not None and (refused := self._schema_refused(error)):
                raise refused from error
            raise
        return completion.answer(request.body["model"])

    async def embed(
        self, texts: Sequence[str], *, spend: Spend, model: str | None = None, dimensions: int | None = None
    ) -> list[list[float]]:
        """Turn each text into a vector, in order, all of one length, which the provider decides.

        Raises:
            JobError: see the class.

        """
        # Base64 is a quarter of the bytes of plain numbers; servers that don't know it send numbers.
        body: dict[str, Any] = {
            "model": model or self._embed_model,
            "input": list(texts),
            "encoding_format": "base64",
        }
        if dimensions is not None:
            body["dimensions"] = dimensions
        request = _Request(path="/embeddings", body=body, private=tuple(texts), spend=spend)
        answer = parse(Embeddings, await self._send(request, {}), private=request.private)
        if answer.usage:
            spend(answer.usage.usage())
        return answer.vectors(len(texts))

    async def _complete(self, request: _Request, limit: int | None) -> Completion:
        """Send with the limit on output tokens under the name that the provider knows."""
        if limit is None:
            return await self._completion(request, {})
        name = self._limit_name
        try:
            return await self._completion(request, {name: limit})
        except BadRequest as error:
            if name == "max_tokens" or not _names(error, name):
                raise
            try:
                completion = await self._completion(request, {"max_tokens": limit})
            except BadRequest:
                # Not the name but its value was refused: nothing to remember.
                raise error from None
        self._limit_name = "max_tokens"
        return completion

    async def _completion(self, request: _Request, more: dict[str, Any]) -> Completion:
        completion = parse(Completion, await self._send(request, more), private=request.private)
        if completion.usage:
            request.spend(completion.usage.usage())
        return completion

    async def _send(self, request: _Request, more: dict[str, Any]) -> bytes:
        request.spend(ONE_REQUEST)
        with self._failures(request):
            # The SDK's time-out starts anew with every byte; this one is for the whole answer.
            async with asyncio.timeout(self._timeout):
                response = await self._client.post(request.path, body=request.body | more, cast_to=httpx2.Response)
        return response.content

    @contextmanager
    def _failures(self, request: _Request) -> Iterator[None]:
        """Turn what the SDK raises into a JobError."""
        private = (self._client.api_key, *request.private)
        try:
            yield
        except openai.APIStatusError as error:
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
            raise TransientError(f"no answer from {self.name}: {shown}", type="provider_unavailable") from None

    def _timed_out(self) -> AttemptTimeout:
        return AttemptTimeout(
            f"no complete answer from {self.name} within {self._timeout:g} s", type="provider_timeout"
        )

    def _schema_refused(self, error: BadRequest) -> SchemaRefused | None:
        """Tell whether the schema was refused, and remember a provider that refuses all of them.

        One user's odd schema must not cost everybody else theirs.
        """
        named, said = _names(error, "response_format"), error.message.lower()
        if not named and "schema" not in said:
            return None
        if named and not any(hint in said for hint in ("json_schema.", "invalid_json_schema", "invalid schema")):
            self.takes_schemas = False
        return SchemaRefused(error.message, parameter=error.parameter)


def _response_format(schema: dict[str, Any]) -> dict[str, Any]:
    # Not strict: OpenAI's strict mode takes only a part of JSON Schema. The answer is validated anyway.
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": False}}


def _names(error: BadRequest, parameter: str) -> bool:
    return parameter in re.split(r"[.\[\]]", error.parameter or "")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Walk from an exception to its first cause."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def check(base_url: str | None, key: str) -> str | None:
    """Refuse at start what would fail at the first job; returns the host, None for the SDK's default."""
    if not key.isascii() or not key.isprintable():
        raise SettingsError("OPENAI_API_KEY: must consist of printable ASCII characters")
    if base_url is None:
        return None
    try:
        parts = urlsplit(base_url)
        if parts.scheme in {"http", "https"} and parts.hostname:
            return parts.hostname
    except ValueError:
        pass
    raise SettingsError("OPENAI_BASE_URL: must be an http:// or https:// URL")
