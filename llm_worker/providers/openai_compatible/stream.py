"""A streamed answer, read piece by piece: pure.

The form is that of OpenAI's `chat.completion.chunk` in server-sent events (WHATWG HTML, 9.2). An answer is whole when
it has a `finish_reason` and the stream its `[DONE]`; anything less is an error, not a short answer. Events that are no
chunks (empty ones, pings, usage alone) are skipped.

provider_garbage      transient  what is not in the form
provider_unavailable  transient  the stream ended too early, or says that the server failed
"""

from codecs import BOM_UTF8
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic_core import from_json

from tandem.llm_worker.providers.base import Completion
from tandem.llm_worker.providers.openai_compatible.errors import Classify, request_id
from tandem.llm_worker.providers.openai_compatible.reasoning import AnswerFilter
from tandem.llm_worker.providers.openai_compatible.responses import (
    ChatCompletion,
    ChatMessage,
    Choice,
    Index,
    ResponseBody,
    TokenCount,
    Word,
    garbage,
    parse,
    raise_error,
    well_formed,
)
from tandem.llm_worker.rate_limit.gate import Exchange
from tandem.shared.errors import TransientError

DONE = "[DONE]"
LONGEST_LINE = 1024 * 1024


class SseDecoder:
    """Cuts bytes into server-sent events; their `data` is all that is used."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[str] = []
        self._begun = False

    def feed(self, content: bytes) -> Iterator[str]:
        """Give the data of each event that is complete. Raises TransientError for what is not text, or has no end."""
        *lines, self._rest = (self._rest + content).split(b"\n")
        if len(self._rest) > LONGEST_LINE:
            raise garbage("a line of the stream has no end")
        for line in lines:
            yield from self._line(line)

    def end(self) -> Iterator[str]:
        """Give the data of an event that the end of the stream completes."""
        yield from self._line(self._rest)
        yield from self._line(b"")

    def _line(self, line: bytes) -> Iterator[str]:
        line = line.removesuffix(b"\r")
        if not self._begun:
            self._begun, line = True, line.removeprefix(BOM_UTF8)
        if line.startswith(b"data:"):
            try:
                self._data.append(line[5:].removeprefix(b" ").decode())
            except UnicodeDecodeError:
                raise garbage("the stream is not UTF-8") from None
        elif not line and self._data:
            data, self._data = "\n".join(self._data), []
            yield data


class _Choice(BaseModel):
    index: Index = None
    delta: ChatMessage | None = None
    finish_reason: Word = None
    error: Any = None


class _Chunk(ResponseBody):
    choices: list[_Choice] | None = None
    model: Word = None


class CompletionReader:
    """A `base.StreamReader`: the parts of an answer that have come so far; `requested` is the model that was asked."""

    def __init__(self, exchange: Exchange, *, requested: str, classify: Classify) -> None:
        self.done = False
        self._events = SseDecoder()
        self._exchange = exchange
        self._requested = requested
        self._classify = classify
        self._answer = AnswerFilter()
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._refusals: list[str] = []
        self._finish: str | None = None
        self._model: str | None = None
        self._usage: TokenCount | None = None

    @property
    def received(self) -> str:
        return "".join([*self._thoughts, *self._texts])

    def feed(self, piece: bytes | None) -> str:
        return "".join(map(self._event, self._events.end() if piece is None else self._events.feed(piece)))

    def _event(self, data: str) -> str:
        """Read one event; gives the text in it."""
        if self.done or data.strip() == DONE:
            self.done = True
            return self._answer.end()
        if not data.strip():
            return ""
        headers = self._exchange.headers
        chunk = parse(_Chunk, data.encode(), headers=headers, classify=self._classify)
        self._usage = chunk.usage or self._usage
        if self._usage:
            self._exchange.usage = self._usage.usage()
        body = {"error": chunk.error} if chunk.choices else from_json(well_formed(data.encode()))
        raise_error(body, headers, self._classify)
        self._model = chunk.model or self._model
        return "".join(self._said(choice) for choice in chunk.choices or [] if choice.index in {0, None})

    def _said(self, choice: _Choice) -> str:
        raise_error({"error": choice.error}, self._exchange.headers, self._classify)
        self._finish = choice.finish_reason or self._finish
        said = choice.delta or ChatMessage()
        if said.refusal:
            self._refusals.append(said.refusal)
        if said.thoughts:
            self._thoughts.append(said.thoughts)
        if said.content:
            self._texts.append(said.content)
        return self._answer.feed(said.content) if said.content else ""

    def result(self) -> Completion:
        """Put the answer together, as it would have come in one piece.

        Raises:
            TransientError: it is not whole.
            JobError: as `ChatCompletion.completion`.

        """
        if not self.done or self._finish is None:
            missing = "[DONE]" if not self.done else "finish_reason"
            why = f"the provider's stream broke off without its {missing}" + request_id(self._exchange.headers)
            raise TransientError(why, type="provider_unavailable")
        message = ChatMessage(content="".join(self._texts), refusal="".join(self._refusals) or None)
        choice = Choice(message=message, finish_reason=self._finish)
        body = ChatCompletion(choices=[choice], model=self._model)
        return body.completion(self._requested, self._exchange.headers)
