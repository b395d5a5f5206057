"""What is sent: the bodies of OpenAI's API, by what the model can do, and what a refusal of one says of that. Pure."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tandem.llm_worker.providers.base import ChatRequest, EmbedRequest, Model
from tandem.llm_worker.providers.capabilities import Capabilities
from tandem.llm_worker.providers.errors import BadRequest

COMPLETIONS = "/chat/completions"
EMBEDDINGS = "/embeddings"
# A refusal that says this is of the one schema that was sent: one user's odd schema must not cost everybody theirs.
OF_ONE_SCHEMA = ("json_schema.", "invalid_json_schema", "invalid schema")


def chat_body(model: Model, request: ChatRequest, can: Capabilities) -> dict[str, Any]:
    """Write a chat completion's request. Without `can.json_schema` there must be no schema to send."""
    body: dict[str, Any] = {"model": model.name, "messages": [message.model_dump() for message in request.messages]}
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.schema is not None:
        # Not strict: OpenAI's strict mode takes only a part of JSON Schema. The answer is validated anyway.
        wanted = {"name": "answer", "schema": request.schema, "strict": False}
        body["response_format"] = {"type": "json_schema", "json_schema": wanted}
    if request.max_output_tokens is not None:
        body[can.output_limit] = request.max_output_tokens
    if request.stream and can.streaming:
        body["stream"] = True
        if can.stream_usage:
            body["stream_options"] = {"include_usage": True}
    return body


def embed_body(model: Model, request: EmbedRequest, can: Capabilities) -> dict[str, Any]:
    # Base64 is a quarter of the bytes of plain numbers; most servers that don't know it send numbers.
    body: dict[str, Any] = {"model": model.name, "input": list(request.texts)}
    if can.vectors:
        body["encoding_format"] = can.vectors
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    return body


def learn(  # noqa: PLR0911 - one a parameter
    error: BadRequest, body: Mapping[str, Any], can: Capabilities
) -> Capabilities | None:
    """Give what the model can do, by its refusal of a parameter of `body`; None if that says nothing of it.

    A limit on output tokens is refused for its value as well as for its name: try the other name.
    """
    refused = set(re.split(r"[.\[\]]", error.parameter or "")) & set(body)
    if "stream_options" in refused:
        return replace(can, stream_usage=False)
    if "stream" in refused:
        return replace(can, streaming=False)
    if "max_completion_tokens" in refused:
        return replace(can, output_limit="max_tokens")
    if "max_tokens" in refused:
        return replace(can, output_limit="max_completion_tokens")
    if "encoding_format" in refused:
        return replace(can, vectors="float" if can.vectors == "base64" else None)
    if "response_format" in refused and not any(hint in error.message.lower() for hint in OF_ONE_SCHEMA):
        return replace(can, json_schema=False)
    return None
