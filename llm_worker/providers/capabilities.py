"""What a model takes of a request. Providers don't tell; a refusal that names a parameter does."""

from dataclasses import dataclass
from typing import Literal

MOST_MODELS = 1000  # that are remembered: jobs may name any

OutputLimit = Literal["max_completion_tokens", "max_tokens"]
VectorFormat = Literal["base64", "float"]


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """All of it, until the model has refused something.

    `output_limit` is the parameter that limits output tokens, where a provider has had two names for it;
    `stream_usage` is whether a streamed answer can tell its usage, `vectors` the form of embeddings to ask for, if the
    server lets itself be asked.
    """

    json_schema: bool = True
    output_limit: OutputLimit = "max_completion_tokens"
    streaming: bool = True
    stream_usage: bool = True
    vectors: VectorFormat | None = "base64"


class CapabilityMemory:
    """What the models of one provider can do, as far as this process knows. Models of one provider differ."""

    def __init__(self) -> None:
        self._known: dict[str, Capabilities] = {}

    def of(self, model: str) -> Capabilities:
        return self._known.get(model) or Capabilities()

    def remember(self, model: str, can: Capabilities) -> None:
        """Keep it for the model's next request, in place of the oldest of too many."""
        if can == self.of(model):
            return
        self._known.pop(model, None)
        if len(self._known) == MOST_MODELS:
            del self._known[next(iter(self._known))]
        self._known[model] = can
