"""One OpenAI-compatible provider: what it is asked, and what it has shown that it can't do."""

import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, TypeVar

from tandem.llm_worker.providers.base import Model, Question
from tandem.llm_worker.providers.deltas import Deltas
from tandem.llm_worker.providers.errors import BadRequest, SchemaRefused
from tandem.llm_worker.providers.openai_compatible.client import Client
from tandem.llm_worker.providers.openai_compatible.responses import Answer, Body, Completion, Embeddings, parse
from tandem.llm_worker.providers.openai_compatible.stream import Collected
from tandem.llm_worker.rate_limit.gate import Ask, Exchange, Gate
from tandem.shared.jobs.model import Usage

log = logging.getLogger("tandem.llm_worker")

COMPLETIONS = "/chat/completions"
EMBEDDINGS = "/embeddings"
ONE_REQUEST = Usage(requests=1)
Read = TypeVar("Read", bound=Body)


class Attempt(Protocol):
    """The attempt that asks: it pays, and it is told who was asked."""

    job_id: str
    usage: Usage

    async def emit(self, text: str, *, first: bool) -> bool:
        """Write one delta of a streamed answer; see `deltas.Emit`."""

    def spend(self, usage: Usage, *, provider: str) -> None:
        """Add the cost of a request."""


@dataclass(frozen=True, kw_only=True)
class _Request:
    """One request to be sent, perhaps in several versions; no error message may repeat `texts`."""

    path: str
    body: dict[str, Any]
    texts: tuple[str, ...]
    model: Model
    attempt: Attempt
    deltas: Deltas | None = None


class Provider:
    """One provider, shared by all jobs of a worker process.

    Every request sent is reported to its attempt, also when it fails, is cancelled or answers garbage.
    Every failure is raised as a JobError; `refusal.py`, `answers.py` and `client.py` list the types.
    """

    def __init__(self, name: str, client: Client, gate: Gate) -> None:
        self.name = name
        self._client = client
        self._gate = gate
        self._takes_schemas = True
        self._limit_name = "max_completion_tokens"
        self._tells_usage = True  # in a stream
        self._unstreamed: set[str] = set()  # models

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def chat(self, model: Model, question: Question, attempt: Attempt) -> Answer:
        """Ask for one answer.

        Raises:
            SchemaRefused: the provider takes no JSON Schema, or not this one.
            Snooze: the gate is closed.
            JobError: anything else; see the class.

        """
        if question.schema is not None and not self._takes_schemas:
            raise SchemaRefused(f"{self.name} takes no JSON Schema")
        if not question.stream:
            return await self._answer(model, question, attempt, None)
        async with Deltas(attempt.emit) as deltas:
            answer = await self._answer(model, question, attempt, deltas)
            if not deltas.begun:
                deltas.add(answer.text)
            return answer

    async def _answer(self, model: Model, question: Question, attempt: Attempt, deltas: Deltas | None) -> Answer:
        body = question.body(model)
        request = _Request(
            path=COMPLETIONS, body=body, texts=question.texts, model=model, attempt=attempt, deltas=deltas
        )
        try:
            completion = await self._complete(request, question.max_output_tokens)
        except BadRequest as error:
            if question.schema is not None and (refused := self._schema_refused(error)):
                raise refused from error
            raise
        return completion.answer(model.name)

    async def embed(
        self, model: Model, texts: Sequence[str], attempt: Attempt, *, dimensions: int | None = None
    ) -> list[list[float]]:
        """Turn each text into a vector, in order, all of one length, which the provider decides.

        Raises:
            Snooze: the gate is closed.
            JobError: see the class.

        """
        # Base64 is a quarter of the bytes of plain numbers; servers that don't know it send numbers.
        body: dict[str, Any] = {"model": model.name, "input": list(texts), "encoding_format": "base64"}
        if dimensions is not None:
            body["dimensions"] = dimensions
        request = _Request(path=EMBEDDINGS, body=body, texts=tuple(texts), model=model, attempt=attempt)
        return (await self._send(request, {}, partial(self._post, Embeddings))).vectors(len(texts))

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

    async def _completion(self, request: _Request, limit: dict[str, int]) -> Completion:
        """Send it streamed if that is asked for and the provider knows how."""
        if request.deltas is None or request.model.title in self._unstreamed:
            return await self._send(request, limit, partial(self._post, Completion))
        told = self._tells_usage
        options: dict[str, Any] = {"stream": True} | ({"stream_options": {"include_usage": True}} if told else {})
        try:
            return await self._send(replace(request, body=request.body | options), limit, self._stream)
        except BadRequest as error:
            if told and _names(error, "stream_options"):
                self._tells_usage = False
            elif _names(error, "stream"):
                self._unstreamed.add(request.model.title)
            else:
                raise
        return await self._completion(request, limit)

    async def _send(
        self,
        request: _Request,
        limit: dict[str, int],
        send: Callable[[_Request, Exchange], Awaitable[Read]],
    ) -> Read:
        attempt = request.attempt
        ask = Ask(
            job_id=attempt.job_id,
            provider=self.name,
            model=request.model.title,
            embeds=request.path == EMBEDDINGS,
            texts=request.texts,
            max_output_tokens=next(iter(limit.values()), None),
            begun=bool(attempt.usage.requests),
        )
        async with self._gate.admit(ask) as exchange:
            attempt.spend(ONE_REQUEST, provider=self.name)
            with self._logged(request.model, exchange):
                read = await send(replace(request, body=request.body | limit), exchange)
            if read.usage:
                exchange.usage = read.usage.usage()
                attempt.spend(exchange.usage, provider=self.name)
        return read

    @contextmanager
    def _logged(self, model: Model, exchange: Exchange) -> Iterator[None]:
        """Write one line about the call: how it was answered, and the provider's own id for it."""
        began = time.monotonic()
        try:
            yield
        finally:
            said = {"model": model.title, "seconds": round(time.monotonic() - began, 3)}
            if theirs := exchange.headers.get("x-request-id"):
                said["provider_request"] = theirs[:100]
            log.info("%s answered %s", self.name, exchange.status or "nothing", extra=said)

    async def _post(self, shape: type[Read], request: _Request, exchange: Exchange) -> Read:
        content = await self._client.post(request.path, request.body, exchange, request.texts)
        return parse(shape, content, headers=exchange.headers, private=request.texts)

    async def _stream(self, request: _Request, exchange: Exchange) -> Completion:
        collected = Collected(request.texts)

        def take(data: str) -> bool:
            text = collected.take(data, exchange.headers)
            if request.deltas:
                request.deltas.add(text)
            return collected.done

        content = await self._client.stream(request.path, request.body, exchange, request.texts, take)
        if content is None:
            return collected.completion(exchange.headers)
        return parse(Completion, content, headers=exchange.headers, private=request.texts)

    def _schema_refused(self, error: BadRequest) -> SchemaRefused | None:
        """Tell whether the schema was refused, and remember a provider that refuses all of them.

        One user's odd schema must not cost everybody else theirs.
        """
        named, said = _names(error, "response_format"), error.message.lower()
        if not named and "schema" not in said:
            return None
        if named and not any(hint in said for hint in ("json_schema.", "invalid_json_schema", "invalid schema")):
            self._takes_schemas = False
        return SchemaRefused(error.message, parameter=error.parameter)


def _names(error: BadRequest, parameter: str) -> bool:
    return parameter in re.split(r"[.\[\]]", error.parameter or "")
