"""A streamed answer, read piece by piece: pure.

The form is that of OpenAI's `chat.completion.chunk` in server-sent events (WHATWG HTML, 9.2). An answer is whole when
it has a `finish_reason` and the stream its `[DONE]`; anything less is an error, not a short answer.

provider_garbage      transient  what is not in the form
provider_unavailable  transient  the stream ended too early, or says that the server failed
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from tandem.llm_worker.providers.openai_compatible.errors import embedded, request_id, to_error
from tandem.llm_worker.providers.openai_compatible.responses import (
    Body,
    Choice,
    Completion,
    Said,
    TokenCount,
    garbage,
    parse,
)
from tandem.shared.errors import TransientError

DONE = "[DONE]"
LONGEST_LINE = 1024 * 1024


class Events:
    """Cuts bytes into events; their `data` is all that is used."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[str] = []

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
        if line.startswith(b"data:"):
            try:
                self._data.append(line[5:].removeprefix(b" ").decode())
            except UnicodeDecodeError:
                raise garbage("the stream is not UTF-8") from None
        elif not line and self._data:
            data, self._data = "\n".join(self._data), []
            yield data


class _Choice(BaseModel):
    index: int = 0
    delta: Said | None = None
    finish_reason: str | None = None


class _Chunk(Body):
    choices: list[_Choice] | None  # required: an object without it is something else
    model: str | None = None
    error: Any = None


class Collected:
    """The parts of an answer that have come so far."""

    def __init__(self, private: tuple[str, ...]) -> None:
        self.done = False
        self._private = private
        self._texts: list[str] = []
        self._refusals: list[str] = []
        self._finish: str | None = None
        self._model: str | None = None
        self._usage: TokenCount | None = None

    def take(self, data: str, headers: Mapping[str, str]) -> str:
        """Read one event; gives the text in it, often none.

        Raises:
            TransientError: it can't be read.
            JobError: it is an error of the provider.

        """
        if self.done or data.strip() == DONE:
            self.done = True
            return ""
        chunk = parse(_Chunk, data.encode(), headers=headers, private=self._private)
        if refusal := embedded({"error": chunk.error}, headers):
            raise to_error(refusal, private=self._private)
        self._model = chunk.model or self._model
        self._usage = chunk.usage or self._usage
        return "".join(self._said(choice) for choice in chunk.choices or [] if choice.index == 0)

    def _said(self, choice: _Choice) -> str:
        self._finish = choice.finish_reason or self._finish
        said = choice.delta or Said()
        if said.refusal:
            self._refusals.append(said.refusal)
        if said.content:
            self._texts.append(said.content)
        return said.content or ""

    def completion(self, headers: Mapping[str, str]) -> Completion:
        """Put the answer together, as it would have come in one piece.

        Raises:
            TransientError: it is not whole.

        """
        if not self.done or self._finish is None or self._finish == "error":
            missing = "[DONE]" if not self.done else "finish_reason"
            why = f"the provider's stream broke off without its {missing}" + request_id(headers)
            raise TransientError(why, type="provider_unavailable")
        message = Said(content="".join(self._texts), refusal="".join(self._refusals) or None)
        choice = Choice(message=message, finish_reason=self._finish)
        return Completion(choices=[choice], model=self._model, usage=self._usage)
