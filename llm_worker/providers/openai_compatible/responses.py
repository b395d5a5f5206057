"""What a provider's 200 says, checked: pure.

Only the answer itself decides. Of what stands around it (usage, model, index) odd values count as not told.

provider_garbage     transient  not JSON, or not in the shape of the API
empty_answer         transient  no choice, or a choice without text
output_limit         final      the limit on output tokens was used up before the first word
provider_unavailable transient  finish_reason error: it broke off
content_filtered     final      finish_reason content_filter
refused              final      the model declined
"""

import json
from array import array
from base64 import b64decode
from collections.abc import Mapping
from math import ceil, isfinite
from typing import Annotated, Any, TypeVar

from pydantic import AliasChoices, BaseModel, BeforeValidator, Field, ValidationError
from pydantic_core import from_json

from tandem.llm_worker.providers.base import Completion, Vectors
from tandem.llm_worker.providers.errors import BadRequest
from tandem.llm_worker.providers.openai_compatible.error_response import error_in_body
from tandem.llm_worker.providers.openai_compatible.errors import Classify, request_id
from tandem.llm_worker.providers.openai_compatible.reasoning import answer_in
from tandem.llm_worker.providers.openai_compatible.wordings import finish_reason
from tandem.llm_worker.rate_limit.gate import Exchange
from tandem.shared.errors import FinalError, TransientError
from tandem.shared.jobs.model import Usage

Shape = TypeVar("Shape", bound=BaseModel)


MOST_TOKENS = 100_000_000  # of one request; a larger number is an error of the provider
LONGEST_ANSWER = 16_000_000  # characters: several times a million tokens, the most that a job may ask for
LONGEST_INDEX = 9  # digits


def _tokens(value: object) -> int | None:
    """Read a count: a fraction is rounded up; what can't be one is not told."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return ceil(value) if 0 <= value <= MOST_TOKENS else None  # NaN compares false


def _word(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _texts(value: object) -> object:
    """Join the parts of a content that is a list: those that are text, and not what the model thought."""
    if isinstance(value, dict):
        return _part(value)
    if not isinstance(value, list):
        return value
    return "".join(filter(None, map(_part, value)))


def _part(part: object) -> str | None:
    if isinstance(part, dict) and part.get("type", "text") in {"text", "output_text"}:
        return _word(part.get("text"))
    return _word(part)


Tokens = Annotated[int | None, BeforeValidator(_tokens)]
Word = Annotated[str | None, BeforeValidator(_word)]
Content = Annotated[str | None, BeforeValidator(_texts)]


class TokenCount(BaseModel):
    prompt_tokens: Tokens = Field(None, validation_alias=AliasChoices("prompt_tokens", "input_tokens"))
    completion_tokens: Tokens = Field(None, validation_alias=AliasChoices("completion_tokens", "output_tokens"))
    total_tokens: Tokens = None

    def usage(self) -> Usage | None:
        """Give what was told; None if that is nothing. Some servers tell the total of embeddings alone."""
        if self.prompt_tokens is None and self.completion_tokens is None and self.total_tokens is None:
            return None
        output = self.completion_tokens or 0
        total = self.total_tokens or 0
        return Usage(max(total - output, 0) if self.prompt_tokens is None else self.prompt_tokens, output)


def _count(value: object) -> object:
    return value if isinstance(value, dict) else None


class ResponseBody(BaseModel):
    """What all answers have."""

    usage: Annotated[TokenCount | None, BeforeValidator(_count)] = None
    error: Any = None

    def count(self, exchange: Exchange) -> None:
        """Put the usage into the exchange, if the provider tells it."""
        if self.usage and (usage := self.usage.usage()):
            exchange.usage = usage


class ChatMessage(BaseModel):
    content: Content = None
    refusal: Word = None
    thoughts: Word = Field(None, validation_alias=AliasChoices("reasoning_content", "reasoning", "thinking"))


class Choice(BaseModel):
    message: ChatMessage
    finish_reason: Word = None
    error: Any = None  # OpenRouter's


class ChatCompletion(ResponseBody):
    """The body of a chat completion, as much of it as is used."""

    choices: list[Choice] | None  # required: an object without it is something else
    model: Word = None

    def completion(self, requested: str, headers: Mapping[str, str]) -> Completion:
        """Take the first choice; `requested` is the model that was asked, `headers` came with the answer.

        Raises:
            TransientError: nothing was answered, or not all.
            FinalError: the model or a filter declined.

        """
        if not self.choices:
            raise TransientError("the provider's answer has no choices", type="empty_answer")
        choice = self.choices[0]
        finish = finish_reason(choice.finish_reason or "stop")
        if finish == "content_filter":
            raise FinalError("the provider's content filter stopped the answer", type="content_filtered")
        if choice.message.refusal or finish == "refusal":
            raise FinalError("the model refused to answer", type="refused")
        if finish == "error":
            why = "the provider broke its answer off" + request_id(headers)
            raise TransientError(why, type="provider_unavailable")
        if len(choice.message.content or "") > LONGEST_ANSWER:
            raise garbage(f"the answer has more than {LONGEST_ANSWER:,} characters")
        text = answer_in(choice.message.content or "")
        if text.strip():
            return Completion(text, self.model or requested, finish)
        if finish == "length":
            raise FinalError("max_output_tokens was used up before the first word", type="output_limit")
        raise TransientError("the provider's answer has no text", type="empty_answer")


def _index(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:LONGEST_INDEX])
    return value if isinstance(value, int) and not isinstance(value, bool) else None


Index = Annotated[int | None, BeforeValidator(_index)]


class _Embedding(BaseModel):
    index: Index = None
    embedding: str | list[float]

    def vector(self) -> list[float]:
        """Decode the vector: little-endian float32 in base64, or plain numbers from servers without it."""
        if isinstance(self.embedding, list):
            return self.embedding
        floats = array("f")
        floats.frombytes(b64decode(self.embedding))
        return floats.tolist()


class EmbeddingList(ResponseBody):
    """The body of an embeddings answer, as much of it as is used."""

    data: list[_Embedding]

    def vectors(self, count: int) -> Vectors:
        """List `count` vectors of one length in the order of the texts, which is that of the list if none is told.

        Raises:
            TransientError: that is not what the provider sent.

        """
        told = [item.index for item in self.data]
        # None and nothing but zeros tell no places.
        places = list(range(len(told))) if set(told) in ({None}, {0}) else [index or 0 for index in told]
        if sorted(places) != list(range(count)):
            raise garbage(f"the answer does not hold one vector for each of {count} texts")
        try:
            vectors = [self.data[number].vector() for number in sorted(range(count), key=places.__getitem__)]
        except ValueError as error:
            raise garbage("a vector can't be decoded") from error
        if len({len(vector) for vector in vectors}) != 1 or not vectors[0]:
            raise garbage("the vectors are not of one length")
        # NaN and infinity survive a sum, which is much faster than looking at each number.
        if not all(isfinite(sum(vector)) for vector in vectors):
            raise garbage("a vector holds a number that is not finite")
        return vectors


def read_completion(content: bytes, exchange: Exchange, *, requested: str, classify: Classify) -> Completion:
    """Read a chat completion's body. Raises JobError as `parse` and `ChatCompletion.completion`."""
    body = parse(ChatCompletion, content, headers=exchange.headers, classify=classify)
    body.count(exchange)
    for error in (body.error, *(choice.error for choice in (body.choices or [])[:1])):
        raise_error({"error": error}, exchange.headers, classify)
    return body.completion(requested, exchange.headers)


def read_embeddings(content: bytes, exchange: Exchange, *, count: int, base64: bool, classify: Classify) -> Vectors:
    """Read an embeddings answer's body; `base64` was asked for.

    Raises:
        BadRequest: nothing came, as of servers that have nothing for a format that they don't know.
        JobError: as `parse` and `EmbeddingList.vectors`.

    """
    body = parse(EmbeddingList, content, headers=exchange.headers, classify=classify)
    body.count(exchange)
    raise_error({"error": body.error}, exchange.headers, classify)
    if base64 and not body.data:
        raise BadRequest("the provider sent no vectors in base64", parameter="encoding_format")
    return body.vectors(count)


def parse(shape: type[Shape], content: bytes, *, headers: Mapping[str, str], classify: Classify) -> Shape:
    """Read a body; `headers` came with it, `classify` says what an error in it means.

    Raises:
        TransientError: it is not JSON or not of this shape.
        JobError: it is an error that came with HTTP 200.

    """
    try:
        return shape.model_validate_json(content)
    except ValidationError as error:
        where = error.errors(include_input=False, include_url=False)[0]
    try:
        body = from_json(content)
    except ValueError:
        mended = well_formed(content)
        if mended == content:
            raise garbage("the body is not JSON" + request_id(headers)) from None
        return parse(shape, mended, headers=headers, classify=classify)
    raise_error(body, headers, classify)
    raise garbage(f"{'.'.join(map(str, where['loc'])) or 'the body'}: {where['msg']}" + request_id(headers))


def well_formed(content: bytes) -> bytes:
    """Write JSON without its byte order mark and the halves of characters that servers of UTF-16 cut apart.

    Each half becomes U+FFFD. What can't be mended is given as it is.
    """
    try:
        text = json.dumps(json.loads(content), ensure_ascii=False)
        mended = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
        from_json(mended)
    except (ValueError, RecursionError):
        return content
    return mended


def raise_error(body: object, headers: Mapping[str, str], classify: Classify) -> None:
    """Raise the error that stands in a body, if one does. Raises JobError."""
    if refusal := error_in_body(body, headers):
        raise classify(refusal)


def garbage(why: str) -> TransientError:
    """Build the error for a body that can't be used."""
    return TransientError(f"the provider sent garbage: {why}", type="provider_garbage")
