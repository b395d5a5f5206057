"""Tasks that wait for a language model: they share one asyncio process by the hundred."""

import json
from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from tandem.shared.tasks import forecast
from tandem.shared.tasks.json_schema import check_schema
from tandem.shared.tasks.spec import Input, Output, Queue, RetryPolicy, TaskSpec

Text = Annotated[str, Field(min_length=1)]
# A name stands in keys and in the news of parks.
ModelName = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
# What one request holds. OpenAI takes 2048 texts and 300,000 tokens; fewer texts keep the decoding of one answer short.
MOST_TEXTS = 512
LONGEST_PART = 60_000  # bytes of a text that a forecast counts: longer ones are asked about in parts
INSTRUCTIONS = " " * 300  # about as long as what our handlers say to a model
RETRY = RetryPolicy(max_attempts=5, base=timedelta(seconds=1), cap=timedelta(minutes=1))


class Message(Input):
    role: Literal["system", "developer", "user", "assistant"] = Field(description="Who says it.")
    content: Text = Field(description="What is said.")


class ChatInput(Input):
    messages: list[Message] = Field(min_length=1, description="The conversation so far, the oldest message first.")
    model: ModelName | None = Field(
        default=None,
        description="A model of `TANDEM_CONFIG`, or its name at the first provider; default: `TANDEM_MODEL`.",
    )
    temperature: float | None = Field(
        default=None, ge=0, le=2, description="How freely the model chooses its words; default: the provider's."
    )
    max_output_tokens: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="Of the answer, which is cut off there (`finish_reason` says so). Limits count with it:"
        " the closer it is, the more jobs start.",
    )


class ChatOutput(Output):
    text: str = Field(description="The answer.")
    model: str = Field(description="The model that answered, as its provider names it.")
    finish_reason: str = Field(description="Why it ended: `stop`, or `length` if it was cut off.")


CHAT = TaskSpec(
    name="chat",
    queue=Queue.LLM,
    summary="Answer a conversation.",
    input=ChatInput,
    output=ChatOutput,
    example={"messages": [{"role": "user", "content": "Name three uses of a job queue."}]},
    timeout=timedelta(minutes=5),
    retry=RETRY,
    forecast=lambda job: forecast.chat(
        (message.content for message in job.messages), model=job.model, most_output=job.max_output_tokens
    ),
)


class ScoreInput(Input):
    text: Text = Field(description="What to score.")
    rubric: Text | None = Field(default=None, description="What to score for; without it, overall quality.")
    min: float = Field(default=0, description="The worst score.")
    max: float = Field(default=10, description="The best score.")

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.max <= self.min:
            raise ValueError("max must be greater than min")
        return self


class ScoreOutput(Output):
    score: float = Field(description="Within min..max of the input.")
    reason: str = Field(description="The model's, in a sentence or two.")


SCORE = TaskSpec(
    name="score",
    queue=Queue.LLM,
    summary="Score a text against a rubric.",
    input=ScoreInput,
    output=ScoreOutput,
    example={
        "text": "The parcel came a day early and well packed.",
        "rubric": "How satisfied is the customer?",
    },
    timeout=timedelta(minutes=2),
    retry=RETRY,
    forecast=lambda job: forecast.chat((job.text, job.rubric or "", INSTRUCTIONS)),
)


class SummarizeInput(Input):
    text: Text = Field(description="Of any length: what exceeds the model's window is split and merged.")
    max_words: int | None = Field(default=None, ge=5, le=10_000, description="Of the summary; the model is asked to.")
    style: Text | None = Field(default=None, description='For example "bullet points" or "for a ten-year-old".')


class SummarizeOutput(Output):
    summary: str = Field(description="Of the whole text.")


SUMMARIZE = TaskSpec(
    name="summarize",
    queue=Queue.LLM,
    summary="Summarise a text of any length; what exceeds the model's window is split and merged.",
    input=SummarizeInput,
    output=SummarizeOutput,
    example={
        "text": "A job queue decouples the request from the work. The caller gets an id at once.",
        "max_words": 20,
    },
    timeout=timedelta(minutes=10),
    retry=RETRY,
    forecast=lambda job: forecast.chat((job.text[:LONGEST_PART], job.style or "", INSTRUCTIONS)),
)


class EmbedInput(Input):
    texts: list[Text] = Field(min_length=1, max_length=2048, description="One vector is made of each.")
    model: ModelName | None = Field(
        default=None,
        description="A model of `TANDEM_CONFIG`, or its name at the first provider; default: `TANDEM_EMBED_MODEL`.",
    )
    dimensions: int | None = Field(
        default=None, ge=1, le=16_384, description="Of each vector, where the model can; default: the model's."
    )


class EmbedOutput(Output):
    embeddings: list[list[float]] = Field(description="One vector a text, in the order of the texts.")
    dimensions: int = Field(description="Of each vector.")


EMBED = TaskSpec(
    name="embed",
    queue=Queue.LLM,
    summary="Turn texts into vectors.",
    input=EmbedInput,
    output=EmbedOutput,
    example={"texts": ["red apple", "green pear"], "dimensions": 8},
    timeout=timedelta(minutes=5),
    retry=RETRY,
    forecast=lambda job: forecast.embed(job.texts[:MOST_TEXTS], model=job.model),
)


class ExtractInput(Input):
    text: Text = Field(description="Where the data stands.")
    json_schema: dict[str, Any] = Field(alias="schema", description="JSON Schema of the wanted data.")

    @field_validator("json_schema")
    @classmethod
    def _valid(cls, value: dict[str, Any]) -> dict[str, Any]:
        check_schema(value)
        return value


class ExtractOutput(Output):
    data: Any = Field(description="Valid against the schema of the input.")


EXTRACT = TaskSpec(
    name="extract",
    queue=Queue.LLM,
    summary="Extract data from a text, valid against a JSON Schema.",
    input=ExtractInput,
    output=ExtractOutput,
    example={
        "text": "Invoice 2041 from Acme GmbH over 129.50 EUR.",
        "schema": {
            "type": "object",
            "properties": {
                "number": {"type": "integer"},
                "sender": {"type": "string"},
                "total": {"type": "number"},
            },
            "required": ["number", "sender", "total"],
            "additionalProperties": False,
        },
    },
    timeout=timedelta(minutes=3),
    retry=RETRY,
    forecast=lambda job: forecast.chat((job.text, json.dumps(job.json_schema), INSTRUCTIONS)),
)
