"""One attempt of an LLM task in this process, against a provider that the test runs."""

from collections.abc import Callable
from typing import TypeVar

from pydantic import SecretStr

from tandem.llm_worker.generation.context import LlmContext, LlmHandler
from tandem.shared.tasks.spec import Input, Output

Out = TypeVar("Out", bound=Output)
MakeContext = Callable[..., LlmContext]
SECRET = "sk-test-0123456789abcdefghij"
KEY = SecretStr(SECRET)
LONG = "\n\n".join(f"Paragraph {n} tells of the {n}th day. It rained a little, and then it cleared." for n in range(80))


async def run(handler: LlmHandler, ctx: LlmContext, job: Input, output: type[Out]) -> Out:
    """Run a handler and say what it returns, which its binding forgets."""
    result = await handler(ctx, job)
    assert isinstance(result, output)
    return result
