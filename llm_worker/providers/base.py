"""What a model is asked, and which model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tandem.shared.tasks.catalog.llm import Message


@dataclass(frozen=True)
class Model:
    """A model by its name in jobs and in the config file, and by its name at the provider."""

    title: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a model is asked; with `schema` the answer is JSON, with `stream` it is emitted as it comes."""

    messages: Sequence[Message]
    temperature: float | None = None
    max_output_tokens: int | None = None
    schema: dict[str, Any] | None = None
    stream: bool = False

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(message.content for message in self.messages)

    def body(self, model: Model) -> dict[str, Any]:
        """Write the request, all but the limit on output tokens."""
        body: dict[str, Any] = {"model": model.name, "messages": [message.model_dump() for message in self.messages]}
        if self.temperature is not None:
            body["temperature"] = self.temperature
        if self.schema is not None:
            # Not strict: OpenAI's strict mode takes only a part of JSON Schema. The answer is validated anyway.
            wanted = {"name": "answer", "schema": self.schema, "strict": False}
            body["response_format"] = {"type": "json_schema", "json_schema": wanted}
        return body
