"""One attempt of a sync task in this process, leased from a real job book."""

from collections.abc import Mapping
from typing import Any, Protocol

from tandem.shared.tasks.spec import AnySpec
from tandem.sync_worker.context import SyncContext


class Start(Protocol):
    """Submits and claims a job and gives its first attempt's context."""

    def __call__(
        self, spec: AnySpec, payload: Mapping[str, Any], *, owner: str = "ada", **settings: Any
    ) -> SyncContext: ...
