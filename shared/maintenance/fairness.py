"""Tells Redis what the config file says of tenants and tasks, and sees to it that it holds."""

import logging
from contextlib import closing
from datetime import datetime

from tandem.shared.config.file import Config
from tandem.shared.config.settings import Settings
from tandem.shared.errors import StoreUnavailable
from tandem.shared.limits.fairness import Fairness
from tandem.shared.runtime.redis_client import client
from tandem.shared.store.executor import Book
from tandem.shared.store.limits.fairness import Row, is_fairness_kept, set_fairness
from tandem.shared.tasks.registry import load

log = logging.getLogger("tandem.book")


class FairnessKeeper:
    """Of one process. Who began last is right; who has no config file, and no task with a limit, says nothing."""

    def __init__(self, settings: Settings, book: Book) -> None:
        said = Fairness.of(settings.config or Config(), load())
        self._said = said if settings.config or said.rows else None
        self._book = book
        self._began: datetime | None = None

    def step(self) -> None:
        """Tell it, if Redis does not keep it. Raises StoreUnavailable."""
        if self._said is None or self._is_kept(self._said):
            return
        rows = [Row(*row) for row in self._said.rows]
        self._began = self._book.run(set_fairness(digest=self._said.digest, process_began=self._began, rows=rows))

    def _is_kept(self, said: Fairness) -> bool:
        if self._began is None:
            return False
        return self._book.run(is_fairness_kept(digest=said.digest, process_began=self._began, size=len(said.rows)))


def tell_fairness(settings: Settings) -> None:
    """Tell it once, at a process's start. What fails here, the clock makes up for."""
    with closing(client(settings.redis)) as connection:
        try:
            FairnessKeeper(settings, Book(connection)).step()
        except StoreUnavailable as error:
            log.warning("Redis has not been told of tenants yet: %s", error)
