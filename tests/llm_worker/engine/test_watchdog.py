"""How jobs are told apart on the event loop."""

import asyncio

import pytest

from tandem.llm_worker.engine.watchdog import inherit_name


@pytest.mark.parametrize(
    "options", [{}, {"context": None}, {"name": None, "context": None}], ids=["3.11", "", "3.13.3"]
)
async def test_a_task_bears_the_name_of_the_one_that_made_it(options: dict[str, None]) -> None:
    """Python's versions hand different options to a factory; a new one must not end in a TypeError."""
    current = asyncio.current_task()
    assert current
    current.set_name("job-1")
    task = inherit_name(asyncio.get_running_loop(), asyncio.sleep(0), **options)
    await task
    assert task.get_name() == "job-1"


async def test_a_name_that_was_given_stays() -> None:
    task = inherit_name(asyncio.get_running_loop(), asyncio.sleep(0), name="own")
    await task
    assert task.get_name() == "own"
