"""What a job's first request to a provider needs, told before it is queued: the claim starts what limits allow.

Tokens are counted by bytes, without a vocabulary, from above.
"""

from collections.abc import Iterable
from dataclasses import dataclass

BYTES_PER_TOKEN = 3
OUTPUT = 256  # tokens of an answer without a cap
ROLE = 4  # tokens around a message


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """The first request: its model (None: the default one), whether it embeds, its tokens, at least 1, and their sort.

    Of each sort the limits learn which share of the tokens is really used.
    """

    model: str | None
    embeds: bool
    tokens: int
    sort: str


def size(text: str) -> int:
    """Count the bytes of UTF-8."""
    return len(text.encode("utf-8", "surrogatepass"))


def estimate(text: str) -> int:
    """Estimate tokens from above: UTF-8 bytes / 3, where English has 4 to 5 a token and Chinese 3 to 4."""
    return -(-size(text) // BYTES_PER_TOKEN)


def chat(texts: Iterable[str], *, model: str | None = None, most_output: int | None = None) -> Forecast:
    """Forecast one answer; `most_output` is its cap in tokens."""
    written = sum(estimate(text) + ROLE for text in texts)
    sort = str((most_output or 0).bit_length())  # one for each doubling of the cap
    return Forecast(model=model, embeds=False, tokens=max(1, written + (most_output or OUTPUT)), sort=sort)


def embed(texts: Iterable[str], *, model: str | None = None) -> Forecast:
    """Forecast the vectors of some texts."""
    return Forecast(model=model, embeds=True, tokens=max(1, sum(estimate(text) + ROLE for text in texts)), sort="embed")
