"""Answers in JSON: asked for by schema, validated, and asked again with the error if they are wrong."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from pydantic_core import from_json

from tandem.llm_worker.generation.context import LlmContext
from tandem.llm_worker.generation.prompt import system, user
from tandem.llm_worker.providers.base import Completion
from tandem.llm_worker.providers.errors import SchemaRefused
from tandem.shared.errors import FinalError, TransientError
from tandem.shared.tasks.catalog.llm import Message

T = TypeVar("T")

MAX_ANSWERS = 3
SHOWN = 2000
FENCED = re.compile(r"```[a-zA-Z0-9]*\s*([\[{\"].*?)```", re.DOTALL)
FENCED_WORD = re.compile(r"```(?:[a-zA-Z0-9]*\s*\n|json\s+)\s*([^\s`]+)\s*```")
BEGINS = re.compile(r"\{\s*[\"}]|\[\s*[\[{\"\]\d\-tfn]")
MOST_BEGINNINGS = 50  # of values in prose

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
        FinalError: type `output_limit`, the model's limit cut the answer off.
        JobError: what the provider raises.

    """
    conversation, error = list(messages), ""
    for _ in range(MAX_ANSWERS):
        answer = await _answer(ctx, conversation, schema)
        try:
            return read(answer.text, check)
        except ValueError as invalid:
            error = str(invalid)[:SHOWN]
        if answer.finish_reason == "length":
            raise FinalError("the limit on output tokens cut the answer off", type="output_limit")
        # The schema is repeated for providers which ignore a response_format without saying so.
        again = AGAIN.format(error=error, schema=json.dumps(schema))
        conversation += [Message(role="assistant", content=answer.text[:SHOWN]), user(again)]
    raise TransientError(f"{MAX_ANSWERS} answers were invalid; the last: {error[:300]}", type="invalid_answer")


async def _answer(ctx: LlmContext, conversation: list[Message], schema: dict[str, Any]) -> Completion:
    try:
        return await ctx.provider.chat(conversation, schema=schema)
    except SchemaRefused:
        pass
    return await ctx.provider.chat(_in_plain_words(conversation, PLAIN.format(schema=json.dumps(schema))))


def _in_plain_words(conversation: list[Message], wish: str) -> list[Message]:
    """Add a wish to the system message: some models' templates refuse a second one."""
    first, *rest = conversation
    if first.role != "system":
        return [system(wish), *conversation]
    return [system(f"{first.content}\n\n{wish}"), *rest]


def read(text: str, check: Callable[[Any], T]) -> T:
    """Find the value in an answer: it is the answer, or stands in a fence, or in prose; of several the last that fits.

    Raises:
        ValueError: none fits; what is wrong with the first that was found.

    """
    faults: list[ValueError] = []
    for candidate in _candidates(text):
        try:
            return check(decode(candidate))
        except ValueError as error:
            faults.append(error)
    # The whole answer is the first, and says least where something in it was JSON.
    raise next((fault for fault in faults[1:] if not _is_syntax(fault)), faults[0])


def _is_syntax(error: ValueError) -> bool:
    return " at line " in str(error)


def _candidates(text: str) -> Iterator[str]:
    yield text.strip()
    yield from reversed([*FENCED.findall(text), *FENCED_WORD.findall(text)])
    yield from reversed(list(_in_prose(text)))


def _in_prose(text: str) -> Iterator[str]:
    """Find the objects and lists in a text, the outermost ones."""
    end = 0
    decoder = json.JSONDecoder()
    for _ in range(MOST_BEGINNINGS):
        begun = BEGINS.search(text, end)
        if not begun:
            return
        try:
            _, stop = decoder.raw_decode(text, begun.start())
        except (ValueError, RecursionError):
            end = begun.start() + 1
        else:
            end = stop
            yield text[begun.start() : stop]


def decode(text: str) -> Any:
    """Decode JSON.

    Raises:
        ValueError: it is no JSON, or holds a number or character that JSON can't carry on.

    """
    value = from_json(text, allow_inf_nan=False)
    json.dumps(value, allow_nan=False)  # 1e999 is JSON, but no number of ours
    return value
