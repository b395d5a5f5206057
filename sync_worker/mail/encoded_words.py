"""Header text beyond ASCII as encoded words (RFC 2047): at most 75 characters each, no blank lost between them.

The standard library's own folding drops blanks where it splits, and writes words of 76 and 77 characters.
"""

import re
from email.header import Header
from email.headerregistry import Address
from email.policy import EmailPolicy
from typing import Self

# What any folding leaves as it is: words that fit on a line, single blanks, nothing that looks encoded already.
SIMPLE = re.compile(r"(?!.*=\?)[!-~]{1,60}( [!-~]{1,60})*")


class EncodedHeader(str):  # noqa: SLOT000 - it has the one attribute
    """A header's value as it goes out, folded. `EmailPolicy` keeps what has a name, and lets it fold itself."""

    name: str

    def __new__(cls, name: str, value: str) -> Self:
        made = super().__new__(cls, value)
        made.name = name
        return made

    def fold(self, *, policy: EmailPolicy) -> str:
        """Write the whole header, as EmailPolicy asks for it."""
        lines = f"{self.name}: {self}\n"
        return lines.replace("\n", policy.linesep)


def text(name: str, value: str) -> str:
    """Give the value of a header that is text, such as a subject."""
    return value if SIMPLE.fullmatch(value) else EncodedHeader(name, _words(name, value))


def mailbox(name: str, address: Address) -> Address | str:
    """Give the value of a header that is one address, perhaps with a name."""
    if address.display_name.isascii():
        return address
    words = _words(name, address.display_name)
    return EncodedHeader(name, f"{words}\n <{Address(username=address.username, domain=address.domain)}>")


def _words(name: str, value: str) -> str:
    return Header(value, "utf-8", header_name=name, maxlinelen=76).encode(splitchars="")
