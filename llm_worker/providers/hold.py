"""Whether a job is still its attempt's: a worker that was suspended may have lost it, and has not heard so yet."""

from typing import Protocol


class Hold(Protocol):
    """What an attempt knows of its lease."""

    @property
    def known(self) -> bool:
        """Whether the lease is known to hold."""

    async def sure(self) -> None:
        """Wait until it is known to hold; who has lost it is cancelled meanwhile."""


class _Always:
    """Of what somebody else watches over: a suspect's process, which its worker ends."""

    known = True

    async def sure(self) -> None:
        return


ALWAYS: Hold = _Always()


class NotKnown(Exception):
    """A request was not sent, as its job may be another worker's by now."""
