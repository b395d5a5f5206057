"""What a request reserves: tokens counted by bytes, and its sort, of which the limits learn what is really used."""

from tandem.llm_worker.rate_limit.gate import Reservation
from tandem.shared.tasks import forecast
from tandem.shared.tasks.forecast import Forecast


def need_of(reservation: Reservation) -> Forecast:
    """Tell what it needs, as the forecast of a job's first request does."""
    if reservation.embeds:
        return forecast.embed(reservation.texts)
    return forecast.chat(reservation.texts, most_output=reservation.max_output_tokens)
