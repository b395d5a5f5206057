"""A receiver of webhooks, and who delivers them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from tandem.shared.config.settings import Settings
from tandem.shared.runtime.redis_client import async_client
from tandem.shared.store.executor import AsyncBook
from tandem.shared.webhooks.deliverer import Deliverer
from tests.support.servers.webhooks import SECRET, Deliver, Receiver, receiving


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


@pytest.fixture
def delivering(valkey: str, tmp_path: Path) -> Deliver:
    @asynccontextmanager
    async def run(**values: Any) -> AsyncIterator[None]:
        chosen = {"allow_private_webhooks": True, "webhook_secret": SecretStr(SECRET), **values}
        settings = Settings(_env_file=None, run_dir=tmp_path, redis_url=valkey, **chosen)
        book, wakeup = AsyncBook(async_client(valkey)), async_client(valkey, timeout=None, connections=1)
        async with Deliverer(settings, book=book, wakeup=wakeup):
            yield
        await wakeup.aclose()
        await book.aclose()

    return run
