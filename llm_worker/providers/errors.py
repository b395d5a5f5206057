"""Refusals of a provider that a caller can answer with another request.

The `type` strings of everything a provider can do wrong are listed in the `errors.py`, `responses.py`, `stream.py` and
`client.py` of its implementation.
"""

from tandem.shared.errors import FinalError
from tandem.shared.limits.model import RequestTooLarge


class BadRequest(FinalError):
    """The provider refused the request as such; `parameter` is the one it named, if any."""

    type = "bad_request"

    def __init__(self, message: str, *, parameter: str | None = None) -> None:
        super().__init__(message)
        self.parameter = parameter


class ContextTooLong(FinalError):
    """The request holds more tokens than the model or the provider takes; a smaller one may pass."""

    type = "context_too_long"


TOO_LARGE = (ContextTooLong, RequestTooLarge)  # for the model, or for a minute of its limits: less may pass


class SchemaRefused(BadRequest):
    """The model takes no JSON Schema, or not this one; the same request without it may pass."""
