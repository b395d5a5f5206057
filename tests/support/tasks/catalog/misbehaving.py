"""Read as `tandem.shared.tasks.catalog.misbehaving`."""

from tests.support.tasks.specs import ASYNC_TROUBLE, ODD, SYNC_TROUBLE

__all__ = ["ASYNC_TROUBLE", "ODD", "SYNC_TROUBLE"]
