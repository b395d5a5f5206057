"""Jobs of several tenants, priorities and models, handed over by the platform's own dispatcher from this process."""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta

import redis

from bench.jobs import work
from bench.lab.lab import Lab
from bench.peers.runner import AT_ONCE
from tandem.shared.config.api_keys import ApiKey, Role
from tandem.shared.dispatch import Dispatcher
from tandem.shared.jobs.submission import Admission, Options
from tandem.shared.limits.lanes import Lanes
from tandem.shared.runtime.redis_client import async_client
from tandem.shared.store.executor import AsyncBook
from tandem.shared.store.keys import Key
from tandem.shared.tasks.catalog.llm import CHAT, ChatInput
from tandem.shared.tasks.spec import AnySpec, Input, Priority

TENANT = "bench"  # whose key the lab has


@dataclass(frozen=True, kw_only=True)
class Order:
    """A job to hand over."""

    spec: AnySpec
    payload: Input
    tenant: str = TENANT
    priority: Priority = Priority.NORMAL


def prompt(mark: int, size: int = 0) -> str:
    return f"mark {mark}\n{work.padding(size)}"


def chat(
    mark: int, *, model: str = work.MODEL, size: int = 0, tenant: str = TENANT, priority: Priority = Priority.NORMAL
) -> Order:
    """Make a chat with a prompt of so many bytes, which the provider's log knows by its mark."""
    return Order(
        spec=CHAT,
        payload=ChatInput.model_validate({"messages": work.messages(prompt(mark, size)), "model": model}),
        tenant=tenant,
        priority=priority,
    )


def hand_over(made: Lab, orders: Iterable[Order]) -> list[str]:
    """Hand all over, in their order but for those on the way at the same time; gives their ids."""
    return asyncio.run(_hand_over(made.redis_url, iter(orders)))


async def _hand_over(url: str, orders: Iterator[Order]) -> list[str]:
    book, ids = AsyncBook(async_client(url)), []
    dispatcher = Dispatcher(
        book,
        admission=Admission(queue_max=10**7),
        idempotency_ttl=timedelta(hours=1),
        lanes=Lanes(model=work.MODEL, embed_model=""),
    )

    async def client() -> None:
        for order in orders:
            caller = ApiKey(order.tenant, Role.USER, "not used here")
            options = Options(priority=order.priority)
            receipt = await dispatcher.enqueue(order.spec, order.payload, caller=caller, request_id="", options=options)
            ids.append(receipt.id)

    await asyncio.gather(*(client() for _ in range(AT_ONCE)))
    await book.aclose()
    return ids


def statuses(made: Lab, ids: list[str]) -> list[str]:
    """Read from the job book what has become of them."""
    with redis.Redis.from_url(made.redis_url, decode_responses=True) as server:
        reading = server.pipeline(transaction=False)
        for id_ in ids:
            reading.hget(Key.JOB + id_, "status")
        return [str(status) for status in reading.execute()]
