"""A mail ready for the wire, and what servers say to it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Mark = Callable[[list[str]], object]  # is told everybody who has got a mail so far

COMPLETED, TEMPORARY, PERMANENT = 200, 400, 500  # where acceptance and the two kinds of refusal begin


@dataclass(frozen=True)
class Mail:
    """A mail ready for the wire: its bytes, with CRLF, 7-bit but for the headers if `utf8`.

    `recipients` maps each address as the caller wrote it to its form on the wire.
    """

    sender: str
    recipients: Mapping[str, str]
    content: bytes = field(repr=False)
    utf8: bool = False


@dataclass(frozen=True)
class Delivery:
    """Who the server took the mail for; of the others, its reason."""

    accepted: list[str]
    rejected: dict[str, str]


@dataclass(frozen=True)
class Reply:
    """A server's answer to one command."""

    code: int
    text: str

    @property
    def positive(self) -> bool:
        """Any 2xx: a client acts on the first digit alone (RFC 5321, 4.3.2)."""
        return COMPLETED <= self.code < COMPLETED + 100

    @property
    def temporary(self) -> bool:
        return TEMPORARY <= self.code < PERMANENT

    def __str__(self) -> str:
        return f"{self.code} {self.text}".strip()
