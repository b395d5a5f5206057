"""What a request reserves: tokens counted by bytes, and its sort, of which the limiter learns what is really used."""

from tandem.llm_worker.rate_limit.gate import Reservation
from tandem.llm_worker.tokens import estimate

OUTPUT = 256  # tokens of an answer without a cap
ROLE = 4  # tokens around a message


def tokens(reservation: Reservation) -> int:
    """Estimate input and output, at least 1. The same request gives the same number in every process."""
    written = sum(estimate(text) + ROLE for text in reservation.texts)
    return max(1, written if reservation.embeds else written + (reservation.max_output_tokens or OUTPUT))


def sort(reservation: Reservation) -> str:
    """Name requests that use about the same share of their estimate: a sort for each doubling of the cap."""
    return "embed" if reservation.embeds else str((reservation.max_output_tokens or 0).bit_length())
