"""JSON as models really write it: in fences, in prose, after thinking, cut off."""

import json

import pytest

from tandem.llm_worker.generation.structured import read
from tandem.llm_worker.handlers.extract import extract
from tandem.llm_worker.handlers.score import score
from tandem.shared.errors import FinalError
from tandem.shared.tasks.catalog.llm import ExtractInput, ExtractOutput, ScoreInput, ScoreOutput
from tests.support.llm_attempts import MakeContext, run
from tests.support.servers.provider_stub import Stub, refused, said

GOOD = '{"reason": "Fine.", "score": 7.5}'
DRAFT = '{"reason": "Draft.", "score": 1}'
FENCE = f"```json\n{GOOD}\n```"


@pytest.mark.parametrize(
    "text",
    [
        FENCE,
        f"```\n{GOOD}\n```",
        f"```json {GOOD}```",
        f"```{GOOD}```",
        f"Sure!\n{FENCE}\nAnything else?",
        f"```json\n{DRAFT}\n```\nOn second thought:\n{FENCE}",
        f"```python\nprint('[1]')\n```\n{FENCE}",
        f"```json\n{GOOD}",
        f"As [1] has it, the answer is {GOOD}. I hope that this helps {{you}}!",
        f"Here: {GOOD}",
        f"<think>A draft:\n```json\n{DRAFT}\n```\nor so.</think>\n{GOOD}",
        f"<think>\n{DRAFT}\n</think>{FENCE}",
        f"A draft: {DRAFT}\n</think>\n\n{GOOD}",
        f"<think></think>{GOOD}",
        f"[THINK]{DRAFT}[/THINK]{GOOD}",
        f"<|channel|>analysis<|message|>{DRAFT}<|end|><|start|>assistant<|channel|>final<|message|>{GOOD}",
    ],
)
async def test_it_is_found_with_one_request(stub: Stub, make: MakeContext, text: str) -> None:
    stub.script(said(text))
    output = await run(score, make(stub.url), ScoreInput(text="A fine day."), ScoreOutput)
    assert (output.score, output.reason, len(stub.bodies)) == (7.5, "Fine.", 1)


@pytest.mark.parametrize("finish", ["length", "max_tokens", "MAX_TOKENS", "model_length"])
async def test_cut_off_is_final_at_once(stub: Stub, make: MakeContext, finish: str) -> None:
    stub.script(said('{"reason": "It is a very', finish=finish))
    with pytest.raises(FinalError) as caught:
        await run(score, make(stub.url), ScoreInput(text="A fine day."), ScoreOutput)
    assert (caught.value.type, len(stub.bodies)) == ("output_limit", 1)


async def test_whole_at_the_limit_is_an_answer(stub: Stub, make: MakeContext) -> None:
    stub.script(said(GOOD, finish="length"))
    assert (await run(score, make(stub.url), ScoreInput(text="A fine day."), ScoreOutput)).score == 7.5


async def test_a_refused_schema_is_told_in_the_one_system_message(stub: Stub, make: MakeContext) -> None:
    stub.script(refused(400, param="response_format", message="No."), said("no JSON"), said('{"n": 1}'))
    schema = {"type": "object", "required": ["n"]}
    output = await run(extract, make(stub.url), ExtractInput(text="one", schema=schema), ExtractOutput)
    assert output.data == {"n": 1}
    for body in stub.bodies:
        assert [message["role"] for message in body["messages"]].count("system") == 1
        assert body["messages"][0]["role"] == "system"
    assert json.dumps(schema) in stub.bodies[1]["messages"][0]["content"]


async def test_a_model_that_fails_at_the_schema_is_asked_in_plain_words(stub: Stub, make: MakeContext) -> None:
    groq = refused(400, message="Failed to generate JSON. Please adjust your prompt.", code="json_validate_failed")
    stub.script(groq, said(GOOD))
    assert (await run(score, make(stub.url), ScoreInput(text="A fine day."), ScoreOutput)).score == 7.5
    assert ["response_format" in body for body in stub.bodies] == [True, False]


def test_what_is_wrong_with_the_value_is_said_rather_than_where_the_prose_begins() -> None:
    def check(value: object) -> object:
        raise ValueError(f"{value} does not fit")

    with pytest.raises(ValueError, match="does not fit"):
        read('Here: {"a": 1}', check)
    with pytest.raises(ValueError, match="expected"):
        read("Seven.", check)


@pytest.mark.parametrize("text", ["[" * 100_000, '[" ' * 30_000, "```" * 30_000, '{"' * 30_000])
def test_a_text_that_never_ends_is_no_trap(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read(text, lambda value: value)
