"""A provider that speaks OpenAI's protocol; `base.Provider` says what each part is for."""

from functools import partial
from typing import Any, Self

from tandem.llm_worker.providers.base import (
    Call,
    ChatRequest,
    Completion,
    EmbedRequest,
    Endpoint,
    Model,
    OnPiece,
    Vectors,
)
from tandem.llm_worker.providers.capabilities import Capabilities
from tandem.llm_worker.providers.errors import BadRequest
from tandem.llm_worker.providers.openai_compatible import requests
from tandem.llm_worker.providers.openai_compatible.client import Client
from tandem.llm_worker.providers.openai_compatible.error_response import ErrorResponse
from tandem.llm_worker.providers.openai_compatible.errors import classify
from tandem.llm_worker.providers.openai_compatible.responses import read_completion, read_embeddings
from tandem.llm_worker.providers.openai_compatible.stream import CompletionReader
from tandem.llm_worker.rate_limit.gate import Exchange
from tandem.shared.errors import JobError


class OpenAICompatible:
    """OpenAI itself, or a server that took over its API: `/chat/completions` and `/embeddings`."""

    def __init__(self, endpoint: Endpoint, client: Client) -> None:
        self.name = endpoint.name
        self._key = endpoint.key
        self._client = client

    @classmethod
    def open(cls, endpoint: Endpoint) -> Self:
        """Prepare the client; nothing is sent yet."""
        return cls(endpoint, Client.open(endpoint))

    async def aclose(self) -> None:
        await self._client.aclose()

    def chat(self, model: Model, request: ChatRequest, can: Capabilities) -> Call[Completion]:
        private = (self._key, *request.texts)
        meaning = partial(classify, private=private, schema=request.schema is not None)
        streamed = request.stream and can.streaming
        return Call(
            path=requests.COMPLETIONS,
            body=requests.chat_body(model, request, can),
            private=private,
            parse=partial(read_completion, requested=model.name, classify=meaning),
            reader=partial(CompletionReader, requested=model.name, classify=meaning) if streamed else None,
        )

    def embed(self, model: Model, request: EmbedRequest, can: Capabilities) -> Call[Vectors]:
        private = (self._key, *request.texts)
        meaning = partial(classify, private=private)
        return Call(
            path=requests.EMBEDDINGS,
            body=requests.embed_body(model, request, can),
            private=private,
            parse=partial(read_embeddings, count=len(request.texts), base64=can.vectors == "base64", classify=meaning),
        )

    async def send(self, call: Call[Any], exchange: Exchange) -> bytes:
        return await self._client.send(call, exchange)

    async def stream(self, call: Call[Any], exchange: Exchange, on_piece: OnPiece) -> bytes | None:
        return await self._client.stream(call, exchange, on_piece)

    def classify(self, call: Call[Any], exchange: Exchange, content: bytes) -> JobError:
        error = ErrorResponse.of(exchange.status or 0, exchange.headers, content)
        return classify(error, private=call.private, schema="response_format" in call.body)

    def learn(self, error: BadRequest, call: Call[Any], can: Capabilities) -> Capabilities | None:
        return requests.learn(error, call.body, can)
