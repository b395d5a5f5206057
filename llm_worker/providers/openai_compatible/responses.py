"""What a provider's 200 says, checked: pure.

provider_garbage     transient  not JSON, or not in the shape of the API
empty_answer         transient  no choice, or a choice without text
output_limit         final      the limit on output tokens was used up before the first word
content_filtered     final      finish_reason content_filter
refused              final      the model declined
"""

from array import array
from base64 import b64decode
from collections.abc import Mapping
from math import isfinite
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from tandem.llm_worker.providers.base import Completion, Vectors
from tandem.llm_worker.providers.openai_compatible.errors import Classify, error_in_body, request_id
from tandem.llm_worker.rate_limit.gate import Exchange
from tandem.shared.errors import FinalError, TransientError
from tandem.shared.jobs.model import Usage

Shape = TypeVar("Shape", bound=BaseModel)


class TokenCount(BaseModel):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None

    def usage(self) -> Usage:
        return Usage(self.prompt_tokens or 0, self.completion_tokens or 0)


class ResponseBody(BaseModel):
    """What all answers have."""

    usage: TokenCount | None = None

    def count(self, exchange: Exchange) -> None:
        """Put the usage into the exchange, if the provider tells it."""
        if self.usage:
            exchange.usage = self.usage.usage()


class ChatMessage(BaseModel):
    content: str | None = None
    refusal: str | None = None


class Choice(BaseModel):
    message: ChatMessage
    finish_reason: str | None = None


class ChatCompletion(ResponseBody):
    """The body of a chat completion, as much of it as is used."""

    choices: list[Choice] | None  # required: an object without it is something else
    model: str | None = None

    def completion(self, requested: str) -> Completion:
        """Take the first choice; `requested` is the model that was asked.

        Raises:
            TransientError: nothing was answered.
            FinalError: the model or a filter declined.

        """
        if not self.choices:
            raise TransientError("the provider's answer has no choices", type="empty_answer")
        choice = self.choices[0]
        if choice.finish_reason == "content_filter":
            raise FinalError("the provider's content filter stopped the answer", type="content_filtered")
        if choice.message.refusal:
            raise FinalError("the model refused to answer", type="refused")
        text = choice.message.content or ""
        if text.strip():
            return Completion(text, self.model or requested, choice.finish_reason or "stop")
        if choice.finish_reason == "length":
            raise FinalError("max_output_tokens was used up before the first word", type="output_limit")
        raise TransientError("the provider's answer has no text", type="empty_answer")


class _Embedding(BaseModel):
    index: int
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
        """List `count` vectors of one length in the order of the texts.

        Raises:
            TransientError: that is not what the provider sent.

        """
        if sorted(item.index for item in self.data) != list(range(count)):
            raise garbage(f"the answer does not hold one vector for each of {count} texts")
        try:
            vectors = [item.vector() for item in sorted(self.data, key=lambda item: item.index)]
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
    return body.completion(requested)


def read_embeddings(content: bytes, exchange: Exchange, *, count: int, classify: Classify) -> Vectors:
    """Read an embeddings answer's body. Raises JobError as `parse` and `EmbeddingList.vectors`."""
    body = parse(EmbeddingList, content, headers=exchange.headers, classify=classify)
    body.count(exchange)
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
        refusal = error_in_body(from_json(content), headers)
    except ValueError:
        raise garbage("the body is not JSON" + request_id(headers)) from None
    if refusal:
        raise classify(refusal)
    raise garbage(f"{'.'.join(map(str, where['loc'])) or 'the body'}: {where['msg']}" + request_id(headers))


def garbage(why: str) -> TransientError:
    """Build the error for a body that can't be used."""
    return TransientError(f"the provider sent garbage: {why}", type="provider_garbage")
