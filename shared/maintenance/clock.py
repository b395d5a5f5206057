"""The clock's process: the duties of maintenance twice a second, the schedules, and webhooks beside them.

One process is enough; any number may run, because each duty is one script or does nothing the second time.
"""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from typing import Any

from tandem.shared.config.settings import Settings
from tandem.shared.errors import StoreUnavailable
from tandem.shared.maintenance.fairness import FairnessKeeper
from tandem.shared.maintenance.faults import Faults
from tandem.shared.maintenance.schedules import Schedules
from tandem.shared.maintenance.scripts import forget_other_versions, load_scripts
from tandem.shared.runtime import sd_notify
from tandem.shared.runtime.bootstrap import prepare
from tandem.shared.runtime.outage import Outage
from tandem.shared.runtime.redis_client import AsyncClient, async_client, client
from tandem.shared.store import leases, maintenance, queues
from tandem.shared.store.executor import AsyncBook, Book
from tandem.shared.store.queues import QueueName
from tandem.shared.tasks.registry import load
from tandem.shared.webhooks.deliverer import Deliverer

log = logging.getLogger("tandem.clock")

STEP_EVERY = timedelta(milliseconds=500)
FORGETS_EVERY = timedelta(days=1)  # the scripts of other versions
SHOWN_EVERY = timedelta(seconds=5)  # as who delivers webhooks
LEAVE_WITHIN = timedelta(seconds=1)
LOOKS = 50  # jobs that one step looks at for lost ones


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Do the duties until `stop` is set; an outage of Redis is waited out."""
    book = Book(client(settings.redis))
    faults = Faults(book)
    schedules = Schedules(settings, book, load(), faults)
    fairness = FairnessKeeper(settings, book)

    async def duties() -> None:
        await asyncio.to_thread(step, settings, book, faults)  # whatever Redis takes, webhooks go on meanwhile
        await asyncio.to_thread(fairness.step)
        await asyncio.to_thread(schedules.step)

    async def forget() -> None:
        await asyncio.to_thread(forget_other_versions, book)

    async with AsyncExitStack() as stack:
        loops = [
            _again_and_again(duties, STEP_EVERY, faults, "step"),
            _again_and_again(forget, FORGETS_EVERY, faults, "forget_other_versions"),
        ]
        if settings.webhook_key is not None:  # who can't sign leaves it to others: tried without, a delivery has failed
            show = await _deliver_webhooks(settings, stack)
            loops.append(_again_and_again(show, SHOWN_EVERY, faults, "heartbeat"))
        log.info("ready")
        sd_notify.ready()
        await _first([*loops, stop.wait()])


async def _first(loops: Sequence[Coroutine[Any, Any, Any]]) -> None:
    """Run all until one ends, and raise what it raised. No step of the others is waited for: it may wait for Redis."""
    tasks = [asyncio.create_task(loop) for loop in loops]
    done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in rest:
        task.cancel()
    for task in done:
        task.result()


def step(settings: Settings, book: Book, faults: Faults) -> None:
    """Do what is due now in both pools; a duty that fails keeps no other from being done."""
    done: dict[str, int] = {}
    for duty, outcome in maintenance.do_all(book, ttl=settings.job_ttl, looks=LOOKS).items():
        if isinstance(outcome, Exception):
            faults.note(duty, outcome)
        else:
            faults.over(duty)
            done[duty] = outcome
    if recovered := done.get("recover_expired_leases"):
        log.warning("gave back %d jobs of dead workers", recovered)
    if lost := done.get("recover_lost"):
        log.warning("put %d jobs back that no list led to", lost)


async def _deliver_webhooks(settings: Settings, stack: AsyncExitStack) -> Callable[[], Awaitable[None]]:
    """Deliver until the stack is left. Gives what shows that somebody does, to be called again and again."""
    book = AsyncBook(_opened(async_client(settings.redis), stack))
    wakeup = _opened(async_client(settings.redis, timeout=None, connections=1), stack)
    name = f"{socket.gethostname()}-{os.getpid()}-clock"

    async def show() -> None:
        await book.run(leases.renew(QueueName.WEBHOOKS, [], worker=name))

    async def leave() -> None:
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(LEAVE_WITHIN.total_seconds()):
                await book.run(queues.leave(name, QueueName.WEBHOOKS))

    stack.push_async_callback(leave)
    await stack.enter_async_context(Deliverer(settings, book=book, wakeup=wakeup))
    return show


def _opened(opened: AsyncClient, stack: AsyncExitStack) -> AsyncClient:
    stack.push_async_callback(opened.aclose)
    return opened


async def _again_and_again(act: Callable[[], Awaitable[None]], pause: timedelta, faults: Faults, name: str) -> None:
    outage = Outage(log, "no tick")
    while True:
        seconds = pause.total_seconds()
        try:
            await act()
            outage.over()
        except StoreUnavailable as error:
            seconds = outage.pause(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the clock must not end of it
            await asyncio.to_thread(faults.note, name, error)
        else:
            faults.over(name)
        await asyncio.sleep(seconds)


async def _main(settings: Settings) -> None:
    stop = asyncio.Event()

    def end(signum: signal.Signals) -> None:
        log.info("%s: stopping", signum.name)
        stop.set()

    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, end, signum)
    await run(settings, stop)


def main() -> None:
    settings = prepare()
    load_scripts(settings.redis)
    asyncio.run(_main(settings))
