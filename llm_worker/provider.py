"""One OpenAI-compatible provider: what it is asked, and what it has shown that it can't do."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from llm_worker.answers import Answer, Body, Completion, Embeddings, parse
from llm_worker.client import Client
from llm_worker.errors import BadRequest, SchemaRefused
from llm_worker.gate import Ask, Gate
from shared.catalog.llm import Message
from shared.job import Usage

ONE_REQUEST = Usage(requests=1)
Read = TypeVar("Read", bound=Body)


class Attempt(Protocol):
    """The attempt that asks: it pays, and it is told who was asked."""

    job_id: str
    usage: Usage

    def spend(self, usage: Usage, *, provider: str) -> None:
        """Add the cost of a request."""


@dataclass(frozen=True)
class Model:
    """A model by its name in jobs and in the config file, and by its name at the provider."""

    title: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a chat completion is asked for; with `schema` the answer is JSON."""

    messages: Sequence[Message]
    temperature: float | None = None
    max_output_tokens: int | None = None
    schema: dict[str, Any] | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(message.content for message in self.messages)

    def body(self, model: Model) -> dict[str, Any]:
        """Write the request, all but the limit on output tokens."""
        body: dict[str, Any] = {"model": model.name, "messages": [message.model_dump() for message in self.messages]}
        if self.temperature is not None:
            body["temperature"] = self.temperature
        if self.schema is not None:
            # Not strict: OpenAI's strict mode takes only a part of JSON Schema. The answer is validated anyway.
            wanted = {"name": "answer", "schema": self.schema, "strict": False}
            body["response_format"] = {"type": "json_schema", "json_schema": wanted}
        return body


@dataclass(frozen=True, kw_only=True)
class _Request:
    """One request to be sent, perhaps in several versions; no error message may repeat `texts`."""

    path: str
    body: dict[str, Any]
    texts: tuple[str, ...]
    model: Model
    attempt: Attempt


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
        request = _Request(
            path="/chat/completions", body=question.body(model), texts=question.texts, model=model, attempt=attempt
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
        request = _Request(path="/embeddings", body=body, texts=tuple(texts), model=model, attempt=attempt)
        return (await self._send(request, Embeddings)).vectors(len(texts))

    async def _complete(self, request: _Request, limit: int | None) -> Completion:
        """Send with the limit on output tokens under the name that the provider knows."""
        if limit is None:
            return await self._send(request, Completion)
        name = self._limit_name
        try:
            return await self._send(request, Completion, limit=limit, more={name: limit})
        except BadRequest as error:
            if name == "max_tokens" or not _names(error, name):
                raise
            try:
                completion = await self._send(request, Completion, limit=limit, more={"max_tokens": limit})
            except BadRequest:
                # Not the name but its value was refused: nothing to remember.
                raise error from None
        self._limit_name = "max_tokens"
        return completion

    async def _send(
        self, request: _Request, shape: type[Read], *, limit: int | None = None, more: dict[str, Any] | None = None
    ) -> Read:
        attempt = request.attempt
        ask = Ask(
            job_id=attempt.job_id,
            provider=self.name,
            model=request.model.title,
            embeds=shape is Embeddings,
            texts=request.texts,
            max_output_tokens=limit,
            begun=bool(attempt.usage.requests),
        )
        async with self._gate.admit(ask) as exchange:
            attempt.spend(ONE_REQUEST, provider=self.name)
            content = await self._client.post(request.path, request.body | (more or {}), exchange, request.texts)
            read = parse(shape, content, headers=exchange.headers, private=request.texts)
            if read.usage:
                exchange.usage = read.usage.usage()
                attempt.spend(exchange.usage, provider=self.name)
        return read

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
