"""Which provider answers: the model's own, or a fallback when that one is not to be had."""

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Self, TypeVar

from tandem.llm_worker.providers.base import Model, Provider
from tandem.llm_worker.providers.errors import SchemaRefused
from tandem.llm_worker.providers.registry import open_providers
from tandem.llm_worker.providers.session import ProviderSession
from tandem.llm_worker.rate_limit.gate import Gate, takes_no_requests
from tandem.shared.config.file import ModelConfig
from tandem.shared.config.settings import Settings
from tandem.shared.errors import MAX_MESSAGE, FinalError, JobError, Snooze, Unreachable

T = TypeVar("T")
log = logging.getLogger("tandem.llm_worker")

# What another provider may do better. Not bad_request, context_too_long, content_filtered: the request is at fault.
WORTH_A_FALLBACK = frozenset(
    {"provider_unavailable", "provider_timeout", "invalid_credentials", "insufficient_quota", "unknown_model"}
)
UNLISTED = ModelConfig()


@dataclass(frozen=True)
class Route:
    """A model and the provider that has it."""

    provider: ProviderSession
    model: Model


class Router:
    """All providers of a worker process, the default one first."""

    def __init__(self, providers: Iterable[Provider], gate: Gate, settings: Settings) -> None:
        self._providers = {provider.name: ProviderSession(provider, gate) for provider in providers}
        self._gate = gate
        self._settings = settings
        self._models = settings.config.models if settings.config else {}

    @classmethod
    def open(cls, settings: Settings, gate: Gate) -> Self:
        """Prepare a client for each provider; nothing is sent yet.

        Raises:
            SettingsError: as `endpoints`.

        """
        return cls(open_providers(settings), gate, settings)

    async def aclose(self) -> None:
        """Close all connections."""
        for provider in self._providers.values():
            await provider.aclose()

    def context_window(self, alias: str) -> int:
        """Give the tokens that a model's window holds."""
        return self._models.get(alias, UNLISTED).context_window or self._settings.context_window

    async def call(self, alias: str, send: Callable[[Route], Awaitable[T]]) -> T:
        """Ask the model, then its fallbacks in order, until one answers.

        Raises:
            Snooze: the model takes nothing now, and no fallback is to be had.
            JobError: what `verdict` makes of all their errors.

        """
        after = self._models.get(alias, UNLISTED).fallback_after
        routes = self._chain(alias)
        free = self._free(routes, after)
        errors: list[JobError | Snooze] = []
        if routes[0] not in free:
            errors.append(Snooze(self._parked(routes[0]), begun=False, why=self._why(routes[0])))
        for route in free:
            try:
                return await send(route)
            except SchemaRefused:
                raise  # the caller asks again without
            except (JobError, Snooze) as error:
                if route is routes[0] and not self._worth_a_fallback(error, route, after):
                    raise
                errors.append(error)
                if route is not free[-1]:
                    # A key that does not work, or an empty account, must not hide behind a fallback that does.
                    level = logging.WARNING if isinstance(error, FinalError) else logging.INFO
                    log.log(level, "%s: %s; a fallback is asked", route.provider.name, error)
        raise verdict(errors, after)

    def _chain(self, alias: str) -> list[Route]:
        names = [alias, *self._models.get(alias, UNLISTED).fallbacks]
        return [self._route(name) for name in names]

    def _route(self, alias: str) -> Route:
        config = self._models.get(alias, UNLISTED)
        default = next(iter(self._providers))
        return Route(self._providers[config.provider or default], Model(alias, config.name or alias))

    def _free(self, routes: Sequence[Route], after: timedelta) -> list[Route]:
        """Leave out who is down, or parked too long; if all are, the one that is free first remains."""
        free = [route for route in routes if self._parked(route) <= after and not self._down(route)]
        return free or [min(routes, key=self._parked)]

    def _down(self, route: Route) -> bool:
        return self._gate.down(route.provider.name, route.model.alias)

    def _why(self, route: Route) -> str:
        return takes_no_requests(f"{route.provider.name}:{route.model.alias}", is_down=self._down(route))

    def _parked(self, route: Route) -> timedelta:
        return self._gate.parked(route.provider.name, route.model.alias)

    def _worth_a_fallback(self, error: JobError | Snooze, route: Route, after: timedelta) -> bool:
        """Tell whether a fallback is worth asking after this error of the model itself."""
        if isinstance(error, Snooze):
            return self._parked(route) > after or self._down(route)
        if error.type == "rate_limited":
            return max(error.retry_after or timedelta(), self._parked(route)) > after
        return error.type in WORTH_A_FALLBACK


def _is_outage(error: JobError) -> bool:
    return isinstance(error, Unreachable) and error.down


def verdict(errors: Sequence[JobError | Snooze], after: timedelta) -> JobError | Snooze:
    """Make one error of those of a chain: the one that keeps most hope, and burns an attempt only for a failure.

    A model that is only parked will come back; meanwhile its fallbacks are asked every `after`.
    """
    snoozes = [error for error in errors if isinstance(error, Snooze)]
    failures = [error for error in errors if isinstance(error, JobError)]
    passing = [error for error in failures if error.retryable]
    if snoozes and (errors[0] is snoozes[0] or not passing):
        soonest = min(snoozes, key=lambda error: error.delay)
        return Snooze(min(soonest.delay, after), begun=False, why=soonest.why) if passing else soonest
    worst, *rest = sorted(failures, key=lambda error: (not error.retryable, not _is_outage(error)))
    more = "".join(f"; {error.type}: {error.message}" for error in rest)
    worst.message = f"{worst.message}{more}"[:MAX_MESSAGE]
    return worst
