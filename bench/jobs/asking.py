"""One call to a provider, as the memory table and the comparison with bare asyncio make it."""

import httpx2
import openai

from bench.jobs.work import MESSAGES, MODEL


class Asker:
    """The SDK with the transport that its documentation recommends for many calls at once: aiohttp."""

    def __init__(self) -> None:
        http = openai.DefaultAioHttpClient(limits=httpx2.Limits(max_connections=0), timeout=60)
        self.client = openai.AsyncOpenAI(http_client=http, max_retries=0)

    async def ask(self) -> str:
        answer = await self.client.chat.completions.create(model=MODEL, messages=MESSAGES)
        return answer.choices[0].message.content or ""


def ask_blocking() -> str:
    """For pools of processes and of greenlets: the SDK's synchronous client."""
    answer = BLOCKING.chat.completions.create(model=MODEL, messages=MESSAGES)
    return answer.choices[0].message.content or ""


BLOCKING = openai.OpenAI(max_retries=0)
