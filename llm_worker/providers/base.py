"""What a provider is: a protocol, which each sibling folder implements (`openai_compatible/` is one).

Another implementation is a folder and its line in `registry.py`. What all of them share is elsewhere: limits, costs and
what a model can't do in `session.py`, fallbacks in `router.py`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Generic, Protocol, TypeVar

from tandem.llm_worker.providers.capabilities import Capabilities
from tandem.llm_worker.providers.errors import BadRequest
from tandem.llm_worker.rate_limit.gate import Exchange
from tandem.shared.errors import JobError
from tandem.shared.tasks.catalog.llm import Message

T = TypeVar("T")
Result_co = TypeVar("Result_co", covariant=True)
Vectors = list[list[float]]
OnPiece = Callable[[bytes | None], bool]


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """The address of one provider; `timeout` is for a whole answer, `stall` for a pause in a streamed one."""

    name: str
    base_url: str
    host: str
    key: str = field(repr=False)
    timeout: timedelta
    stall: timedelta


@dataclass(frozen=True)
class Model:
    """A model by its name in jobs and in the config file, and by its name at the provider."""

    alias: str
    name: str


@dataclass(frozen=True, kw_only=True)
class ChatRequest:
    """What a model is asked; with `schema` the answer is JSON, with `stream` it is emitted as it comes."""

    messages: Sequence[Message]
    temperature: float | None = None
    max_output_tokens: int | None = None
    schema: dict[str, Any] | None = None
    stream: bool = False

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(message.content for message in self.messages)


@dataclass(frozen=True, kw_only=True)
class EmbedRequest:
    """Texts to turn into vectors, of `dimensions` numbers if the model can."""

    texts: tuple[str, ...]
    dimensions: int | None = None


@dataclass(frozen=True)
class Completion:
    """What the model wrote: never blank."""

    text: str
    model: str
    finish_reason: str


class StreamReader(Protocol[Result_co]):
    """Reads one streamed answer."""

    @property
    def done(self) -> bool:
        """Whether the answer has said all; what follows may be left unread."""

    @property
    def received(self) -> str:
        """All that the model has written so far, thoughts as well: what it probably cost."""

    def feed(self, piece: bytes | None) -> str:
        """Take a piece of the body, None at its end; gives the text in it, often none.

        Raises:
            JobError: it can't be read, or it is an error of the provider.

        """

    def result(self) -> Result_co:
        """Put the answer together, and its usage into the exchange. A stream that broke off is no short answer.

        Raises:
            JobError: the answer is not whole, or holds nothing.

        """


@dataclass(frozen=True, kw_only=True)
class Call(Generic[T]):
    """One HTTP request as data: what is sent, and how its answer is read.

    Without a `reader` the answer is taken whole, by `parse`; with one it is streamed, if the server does stream.
    Both put the usage into the exchange before they raise what is wrong with the answer.
    `private` are texts that no error message may repeat.
    """

    path: str
    body: dict[str, Any]
    private: tuple[str, ...]
    parse: Callable[[bytes, Exchange], T]
    reader: Callable[[Exchange], StreamReader[T]] | None = None


class Provider(Protocol):
    """How one provider is spoken to: what is asked and how the answer is read, what an error means, and the wire.

    `send` and `stream` fill in the exchange while they run, and raise

    Unreachable     provider_timeout      no answer in time
    Unreachable     provider_unavailable  no connection, or it broke without an answer
    AttemptTimeout  provider_timeout      an answer that was not complete in time, or a stream that stalls
    TransientError  provider_unavailable  an answer that broke off
    """

    @property
    def name(self) -> str:
        """Its name in the config file, in limits, logs and on jobs."""

    def chat(self, model: Model, request: ChatRequest, can: Capabilities) -> Call[Completion]:
        """Write a chat request with nothing in it that the model can't do."""

    def embed(self, model: Model, request: EmbedRequest, can: Capabilities) -> Call[Vectors]:
        """Write a request for one vector a text, in order, all of one length."""

    async def send(self, call: Call[Any], exchange: Exchange) -> bytes:
        """Send it once and give the whole body, whatever the status."""

    async def stream(self, call: Call[Any], exchange: Exchange, on_piece: OnPiece) -> bytes | None:
        """Send it once, and hand on the body piece by piece, None at its end, until `on_piece` has had enough.

        The whole body is given instead if it is an error, or if the server does not stream after all.
        """

    def classify(self, call: Call[Any], exchange: Exchange, content: bytes) -> JobError:
        """Say what an answer means whose status is not 2xx.

        RateLimited parks the model, BadRequest and its kinds may be answered with another request.
        """

    def learn(self, error: BadRequest, call: Call[Any], can: Capabilities) -> Capabilities | None:
        """Give what the model can do by this refusal; None if it refuses something else."""

    async def aclose(self) -> None:
        """Close all connections."""
