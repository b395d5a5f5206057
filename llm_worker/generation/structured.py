"""Answers in JSON: asked for by schema, validated, and asked again with the error if they are wrong."""

import json
import re
from collections.abc import Callable
from typing import Any, TypeVar

from pydantic_core import from_json

from tandem.llm_worker.generation.context import LlmContext
from tandem.llm_worker.generation.prompt import system, user
from tandem.llm_worker.providers.base import Completion
from tandem.llm_worker.providers.errors import SchemaRefused
from tandem.shared.errors import TransientError
from tandem.shared.tasks.catalog.llm import Message

T = TypeVar("T")

MAX_ANSWERS = 3
SHOWN = 2000
FENCED = re.compile(r"```[a-zA-Z]*\s*\n(.*?)\n?\s*```", re.DOTALL)

PLAIN = "Answer with JSON only, no other text, valid against this JSON Schema:\n{schema}"
AGAIN = (
    "That answer can't be used: {error}\n"
    "Answer again with JSON only, no other text, valid against this JSON Schema:\n{schema}"
)


async def chat_json(
    ctx: LlmContext, messages: list[Message], *, schema: dict[str, Any], check: Callable[[Any], T]
) -> T:
    """Ask for JSON of `schema`; `check` turns the decoded value into the result or raises ValueError.

    Raises:
        TransientError: type `invalid_answer`, three answers were invalid.
        JobError: what the provider raises.

    """
    conversation, error = list(messages), ""
    for _ in range(MAX_ANSWERS):
        answer = await _answer(ctx, conversation, schema)
        try:
            return check(decode(answer.text))
        except ValueError as invalid:
            error = str(invalid)[:SHOWN]
        # The schema is repeated for providers which ignore a response_format without saying so.
        again = AGAIN.format(error=error, schema=json.dumps(schema))
        conversation += [Message(role="assistant", content=answer.text[:SHOWN]), user(again)]
    raise TransientError(f"{MAX_ANSWERS} answers were invalid; the last: {error[:300]}", type="invalid_answer")


async def _answer(ctx: LlmContext, conversation: list[Message], schema: dict[str, Any]) -> Completion:
    try:
        return await ctx.provider.chat(conversation, schema=schema)
    except SchemaRefused:
        pass
    plain = system(PLAIN.format(schema=json.dumps(schema)))
    return await ctx.provider.chat([plain, *conversation])


def decode(text: str) -> Any:
    """Decode JSON, also from a fenced code block.

    Raises:
        ValueError: it is no JSON, or holds a number or character that JSON can't carry on.

    """
    try:
        value = from_json(text.strip(), allow_inf_nan=False)
    except ValueError:
        block = FENCED.search(text)
        if block is None:
            raise
        value = from_json(block[1], allow_inf_nan=False)
    json.dumps(value, allow_nan=False)  # 1e999 is JSON, but no number of ours
    return value
