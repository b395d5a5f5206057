"""What was done to the platform and what happened to it, in the order in which it began."""

import time
from dataclasses import dataclass, field

from tests.chaos.outside.records import Deed


@dataclass
class Chronicle:
    """All deeds; `skipped` are the faults that could not be done, with the reason."""

    deeds: list[Deed] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def begin(self, kind: str, role: str, *, target: str = "", pid: int = 0) -> Deed:
        """Note a deed at the moment before it is done."""
        deed = Deed(kind=kind, role=role, target=target, pid=pid, began=time.time())
        self.deeds.append(deed)
        return deed

    def end(self, deed: Deed) -> None:
        """Note that it is over."""
        deed.ended = time.time()
