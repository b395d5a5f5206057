"""What limits are: of whom, how much, and what a provider says is left. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tandem.shared.errors import FinalError


@dataclass(frozen=True)
class Limits:
    """Requests a minute, tokens a minute, requests at once; None is no limit."""

    rpm: int | None = None
    tpm: int | None = None
    concurrency: int | None = None

    def __bool__(self) -> bool:
        return any((self.rpm, self.tpm, self.concurrency))


@dataclass(frozen=True)
class Scope:
    """Whom a request is for: it must pass the limits of the provider and those of its model there."""

    provider: str
    model: str
    provider_limits: Limits = Limits()
    model_limits: Limits = Limits()
    known: bool = True  # the settings name the model; jobs may name any

    @property
    def label(self) -> str:
        """Its provider and model in metrics, which must not grow with what jobs name."""
        names = (self.provider, self.model if self.known else "other")
        return "|".join(name.replace("|", "/") for name in names)

    @property
    def name(self) -> str:
        return f"{self.provider}:{self.model}"

    @property
    def limited(self) -> bool:
        return bool(self.provider_limits or self.model_limits)

    def levels(self) -> list[dict[str, Any]]:
        """List the limits as the script reads them, the most special ones last."""
        pairs = [(self.provider, self.provider_limits), (self.name, self.model_limits)]
        return [
            {"name": name, **{kind: limit for kind, limit in vars(limits).items() if limit is not None}}
            for name, limits in pairs
            if limits
        ]


class RequestTooLarge(FinalError):
    """The request holds more tokens than the limit allows in a whole minute: it could never be sent."""

    type = "request_too_large"


Seen = dict[str, tuple[int | None, int]]
KINDS = {"requests": "rpm", "tokens": "tpm"}


def seen(headers: Mapping[str, str]) -> Seen:
    """Read what the provider says is left: kind -> limit (None if it does not say) and what remains of it.

    The headers are `x-ratelimit-{limit,remaining}-{requests,tokens}`, of OpenAI and most compatible providers,
    and Anthropic's `anthropic-ratelimit-{requests,tokens}-{limit,remaining}`. What is not a number is ignored.
    """
    found: Seen = {}
    for word, kind in KINDS.items():
        for pattern in (f"x-ratelimit-%s-{word}", f"anthropic-ratelimit-{word}-%s"):
            remaining = _count(headers.get(pattern % "remaining"))
            if remaining is not None:
                found[kind] = (_count(headers.get(pattern % "limit")), remaining)
    return found


def _count(value: str | None) -> int | None:
    # Twelve digits: what is beyond any limit is no limit.
    return int(value) if value and re.fullmatch(r"[0-9]{1,12}", value) else None
