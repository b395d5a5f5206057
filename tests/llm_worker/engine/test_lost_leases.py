"""What a renewal says of leases that are lost: it is true of these runs only."""

import asyncio
from dataclasses import replace
from datetime import timedelta

from tandem.llm_worker.engine.heartbeat import Heartbeat
from tandem.llm_worker.engine.tenure import Tenure
from tandem.shared.store import commands, leases
from tandem.shared.store.executor import AsyncBook
from tandem.shared.store.keys import ArqKey
from tandem.shared.store.leases import Lease
from tests.support.chats import submit

TTL = timedelta(days=1)


async def nothing() -> None:
    """Do nothing besides."""


async def test_the_next_run_of_a_job_is_not_stopped_for_the_one_before(async_book: AsyncBook) -> None:
    again, cancelled = await submit(async_book, 2)
    claimed = await async_book.run(leases.claim_llm(worker="w", limit=2, ttl=TTL))
    held: dict[str, Lease] = {lease.id: lease for lease in claimed.leases}
    for job in held:
        await async_book.run(commands.cancel(job, ttl=TTL))
    lost, told = list[str](), asyncio.Event()

    def note(job: str) -> None:
        lost.append(job)
        if job == cancelled:
            told.set()

    heartbeat = Heartbeat(async_book, worker="w", ttl=TTL, leases=held, tenure=Tenure(held), lost=note, besides=nothing)
    heartbeat.start()
    await asyncio.sleep(0)  # its question is on its way
    held[again] = replace(held[again], token="the next run's")
    await asyncio.wait_for(told.wait(), 20)
    heartbeat.stop()
    assert lost == [cancelled]


async def test_leases_are_known_to_hold_whatever_is_wrong_with_wishes_of_arqs_clients(async_book: AsyncBook) -> None:
    """Else no job would send a request any more, or end."""
    await submit(async_book, 1)
    [lease] = (await async_book.run(leases.claim_llm(worker="w", limit=1, ttl=TTL))).leases
    held: dict[str, Lease] = {lease.id: lease}
    tenure = Tenure(held)
    await async_book.client.set(ArqKey.ARQ_ABORT, "spoilt")
    heartbeat = Heartbeat(
        async_book, worker="w", ttl=TTL, leases=held, tenure=tenure, lost=lambda _: None, besides=nothing
    )
    heartbeat.start()
    await asyncio.wait_for(tenure.sure(lease), 20)
    heartbeat.stop()
