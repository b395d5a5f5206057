"""Read as `tandem.shared.tasks.catalog.misbehaving`."""

from tests.support.tasks.specs import ASYNC_TELLING, ASYNC_TROUBLE, JOURNAL, ODD, SYNC_TELLING, SYNC_TROUBLE

__all__ = ["ASYNC_TELLING", "ASYNC_TROUBLE", "JOURNAL", "ODD", "SYNC_TELLING", "SYNC_TROUBLE"]
