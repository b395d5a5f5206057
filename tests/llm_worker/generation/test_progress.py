"""Progress from handlers of either pool to the job's events."""

import asyncio
from collections.abc import Sequence

from tandem.llm_worker.generation.reporter import Entry, Reporter
from tandem.llm_worker.handlers.embed import embed
from tandem.llm_worker.handlers.summarize import summarize
from tandem.shared.errors import StoreUnavailable
from tandem.shared.jobs.events import Kind
from tandem.shared.tasks.catalog.llm import EmbedInput, EmbedOutput, SummarizeInput, SummarizeOutput
from tests.support.llm_attempts import LONG, MakeContext, run
from tests.support.servers.llmock import LlMock
from tests.support.servers.provider_stub import Stub, said


class Told:
    """What was appended; fails as long as `away`."""

    def __init__(self) -> None:
        self.steps: list[Entry] = []
        self.away = False

    async def append(self, entries: Sequence[Entry]) -> bool:
        if self.away:
            raise StoreUnavailable("gone")
        self.steps += entries
        return True


async def test_many_steps_are_few_writes_and_the_last_is_one_of_them() -> None:
    told = Told()
    reporter = Reporter(told.append)
    for done in range(1001):
        await reporter.tell(done, 1000, None)
        await asyncio.sleep(0)
    assert 2 <= len(told.steps) < 200
    assert [told.steps[0][1]["done"], told.steps[-1][1]["done"]] == [0, 1000]


async def test_a_step_that_came_too_soon_is_told_later() -> None:
    told = Told()
    reporter = Reporter(told.append)
    for done in (1, 2, 3):
        await reporter.tell(done, 9, None)
    assert reporter._later
    await reporter._later
    assert [data["done"] for _, data in told.steps] == [1, 3]


async def test_without_redis_a_handler_goes_on() -> None:
    told = Told()
    told.away = True
    reporter = Reporter(told.append)
    await reporter.tell(1, 2, None)
    told.away = False
    await reporter.tell(2, 2, None)
    assert [data["done"] for _, data in told.steps] == [2]


async def test_embedding_and_summarising_tell_how_far_they_are(mock: LlMock, stub: Stub, make: MakeContext) -> None:
    ctx, told = make(mock.url), Told()
    ctx.reporter = Reporter(told.append)
    await run(embed, ctx, EmbedInput(texts=["a"] * 1200), EmbedOutput)
    assert told.steps[-1][1] == {"done": 1200, "total": 1200, "message": "texts embedded"}
    stub.script(said("It rained."))
    ctx = make(stub.url, context_window=512)
    ctx.reporter = Reporter(told.append)
    await run(summarize, ctx, SummarizeInput(text=LONG), SummarizeOutput)
    last = told.steps[-1][1]
    assert last["done"] == last["total"] > 4
    assert Kind.PROGRESS is told.steps[-1][0]
