"""What a request reserves: tokens counted by bytes, and its sort, of which the limiter learns what is really used."""

from tandem.llm_worker.rate_limit.gate import Ask
from tandem.llm_worker.tokens import estimate

OUTPUT = 256  # tokens of an answer without a cap
ROLE = 4  # tokens around a message


def tokens(ask: Ask) -> int:
    """Estimate input and output, at least 1. The same request gives the same number in every process."""
    written = sum(estimate(text) + ROLE for text in ask.texts)
    return max(1, written if ask.embeds else written + (ask.max_output_tokens or OUTPUT))


def sort(ask: Ask) -> str:
    """Name requests that use about the same share of their estimate: a sort for each doubling of the cap."""
    return "embed" if ask.embeds else str((ask.max_output_tokens or 0).bit_length())
