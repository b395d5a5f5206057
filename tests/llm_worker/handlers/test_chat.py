from tandem.llm_worker.handlers.chat import chat
from tandem.shared.tasks.catalog.llm import CHAT
from tests.support.llm_attempts import MakeContext
from tests.support.servers.llmock import LlMock


async def test_chat(mock: LlMock, make: MakeContext) -> None:
    mock.script({"type": "reply", "text": "Retries, smoothing, and", "finish_reason": "length"})
    job = CHAT.input.model_validate(CHAT.example | {"model": "m", "temperature": 0, "max_output_tokens": 5})
    output = await chat(make(mock.url), job)
    assert output.model_dump() == {"text": "Retries, smoothing, and", "model": "m", "finish_reason": "length"}
    assert mock.bodies[0] == {
        "model": "m",
        "messages": CHAT.example["messages"],
        "temperature": 0,
        "max_completion_tokens": 5,
    }
