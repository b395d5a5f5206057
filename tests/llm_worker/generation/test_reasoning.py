"""What a model thinks before it answers is no part of the answer: not of the result, not of the deltas."""

from collections.abc import Sequence
from typing import Any

import pytest

from tandem.llm_worker.handlers.chat import chat
from tandem.llm_worker.handlers.summarize import summarize
from tandem.shared.errors import JobError
from tandem.shared.jobs.events import Kind
from tandem.shared.tasks.catalog.llm import ChatInput, ChatOutput, Message, SummarizeInput, SummarizeOutput
from tests.support.llm_attempts import MakeContext, run
from tests.support.servers.provider_stub import Pieces, Stub, chunk, said

ASK = ChatInput(messages=[Message(role="user", content="Hello there")])
DONE = "data: [DONE]\n\n"

THOUGHT = [
    "<think>Hm.</think>Good morning.",
    "<think>\nHm. ```json\n{}\n``` So it is.\n</think>\n\nGood morning.",
    "\n <think></think>\n<think>Hm.</think>\nGood morning.",
    "[THINK]Hm.[/THINK]Good morning.",
    "◁think▷Hm.◁/think▷Good morning.",
    "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Good morning.",
    "<think>I could say <think>, but no.</think>Good morning.",
]
SAID = [
    "Good morning.",
    " Good morning.",
    "<",
    "<thin",
    "<thinking>Hm.</thinking>Good morning.",
    "Write <think>Hm.</think> before it.",
    "[1] says so.",
    "It ends with </think>, they say.",
    "Write\n```\nHm.\n</think>\n```\nat its end.",
    "The mark is </think>",
    'It is:\n{"text": "<think>"}',
    '{"text": "Hm.</think> {x}"}',
]


async def deltas(stub: Stub, make: MakeContext, pieces: Sequence[str]) -> tuple[str, str, bool]:
    """Stream a chat: its result, what readers have in the end, and whether they had to begin anew."""
    stub.script(Pieces(*(chunk(piece) for piece in pieces), chunk(finish="stop"), DONE))
    ctx = make(stub.url)
    entries: list[tuple[Kind, dict[str, Any]]] = []

    async def append(new: Sequence[tuple[Kind, dict[str, Any]]]) -> bool:
        entries.extend(new)
        return True

    ctx.append = append
    output = await run(chat, ctx, ASK, ChatOutput)
    begun = [number for number, (kind, _) in enumerate(entries) if kind is Kind.ATTEMPT]
    shown = "".join(data["text"] for kind, data in entries[begun[-1] if begun else 0 :] if kind is Kind.DELTA)
    return output.text, shown, bool(begun)


@pytest.mark.parametrize("text", THOUGHT)
async def test_it_is_left_out(stub: Stub, make: MakeContext, text: str) -> None:
    stub.script(said(text))
    assert (await run(chat, make(stub.url), ASK, ChatOutput)).text == "Good morning."
    for pieces in ([text], list(text), [text[n : n + 5] for n in range(0, len(text), 5)]):
        assert await deltas(stub, make, pieces) == ("Good morning.", "Good morning.", False)


@pytest.mark.parametrize("text", SAID)
async def test_what_only_looks_like_it_stays(stub: Stub, make: MakeContext, text: str) -> None:
    stub.script(said(text))
    assert (await run(chat, make(stub.url), ASK, ChatOutput)).text == text
    for pieces in ([text], list(text)):
        assert await deltas(stub, make, pieces) == (text, text, False)


@pytest.mark.parametrize("answer", ["It ends with </think>\nas said.", '{"text": "Hm.</think> [x]"}'])
async def test_after_what_was_thought_a_mark_is_the_answer_s(stub: Stub, make: MakeContext, answer: str) -> None:
    for text in (f"<think>Hm.</think>{answer}", f"<think></think>\n<think>Hm.</think>\n{answer}"):
        stub.script(said(text))
        assert (await run(chat, make(stub.url), ASK, ChatOutput)).text == answer
        assert await deltas(stub, make, list(text)) == (answer, answer, False)


async def test_thoughts_in_thoughts_are_thoughts(stub: Stub, make: MakeContext) -> None:
    text = "<think>Hm. <think>So.</think> It is.\n</think>\nGood morning."
    stub.script(said(text))
    assert (await run(chat, make(stub.url), ASK, ChatOutput)).text == "Good morning."
    assert await deltas(stub, make, list(text)) == ("Good morning.", "Good morning.", True)


async def test_where_the_template_wrote_the_first_mark_readers_begin_anew(stub: Stub, make: MakeContext) -> None:
    pieces = ["Hm. So ", "it is.\n</thi", "nk>\n\nGood ", "morning."]
    stub.script(said("".join(pieces)))
    assert (await run(chat, make(stub.url), ASK, ChatOutput)).text == "Good morning."
    assert await deltas(stub, make, pieces) == ("Good morning.", "Good morning.", True)


@pytest.mark.parametrize(("finish", "kind"), [("stop", "empty_answer"), ("length", "output_limit")])
@pytest.mark.parametrize("text", ["<think>Hm. I could say: Good morning.", "<think>Hm.</think>\n", "<think>"])
async def test_thinking_alone_is_no_answer(stub: Stub, make: MakeContext, text: str, finish: str, kind: str) -> None:
    for reply in (said(text, finish=finish), Pieces(chunk(text), chunk(finish=finish), DONE)):
        stub.script(reply)
        with pytest.raises(JobError) as caught:
            await make(stub.url).provider.chat(ASK.messages, stream=isinstance(reply, Pieces))
        assert caught.value.type == kind


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "thinking"])
async def test_fields_beside_the_text_are_not_the_text(stub: Stub, make: MakeContext, field: str) -> None:
    stub.script(said("Good morning.", **{field: "Hm."}))
    assert (await run(chat, make(stub.url), ASK, ChatOutput)).text == "Good morning."
    thinking = chunk(choices=[{"index": 0, "delta": {"content": None, field: "Hm."}}])
    stub.script(Pieces(thinking, chunk("Good morning."), chunk(finish="stop"), DONE))
    assert (await make(stub.url).provider.chat(ASK.messages, stream=True)).text == "Good morning."


async def test_a_summary_is_without_it(stub: Stub, make: MakeContext) -> None:
    stub.script(said("<think>The user wants a summary.</think>\n\nIt rained."))
    output = await run(summarize, make(stub.url), SummarizeInput(text="It rained and rained."), SummarizeOutput)
    assert output.summary == "It rained."
