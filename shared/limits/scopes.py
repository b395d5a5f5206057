"""Whose limits a request must pass, by the settings."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Protocol

from tandem.shared.config.file import ModelConfig
from tandem.shared.config.settings import Settings
from tandem.shared.limits.model import Limits, Scope

US = timedelta(microseconds=1)
NONE = Limits()


class Scopes:
    """Providers and models with their limits. `default` is the provider of a model that names none."""

    def __init__(
        self,
        providers: Mapping[str, Limits],
        models: Mapping[str, ModelConfig],
        *,
        default: str = "",
        used: Sequence[str] = (),
    ) -> None:
        self._providers = providers
        self._models = models
        self._default = default
        self._known = {*models, *used}

    @classmethod
    def of(cls, settings: Settings, *, default: str) -> "Scopes":
        """Read the config file; TANDEM_LLM_RPM and _TPM fill what it leaves open for the `default` provider."""
        config = settings.config
        providers = {name: _limits(part) for name, part in (config.providers if config else {}).items()}
        own = providers.get(default, NONE)
        providers[default] = Limits(
            rpm=own.rpm or settings.llm_rpm, tpm=own.tpm or settings.llm_tpm, concurrency=own.concurrency
        )
        models = config.models if config else {}
        return cls(providers, models, default=default, used=(settings.model, settings.embed_model))

    def scope(self, provider: str, model: str) -> Scope:
        """Name a provider's model with its limits."""
        known = self._models.get(model)
        own = _limits(known) if known else NONE
        return Scope(provider, model, self._providers.get(provider, NONE), own, known=model in self._known)

    def own(self, model: str) -> Scope:
        """Name a model at the provider that the settings give it."""
        known = self._models.get(model)
        return self.scope((known and known.provider) or self._default, model)

    def told(self) -> dict[str, dict[str, int]]:
        """Say which limits there are, by name and kind: for other workers, and for metrics."""
        scopes = [*(self.scope(provider, "") for provider in self._providers), *map(self.own, self._models)]
        return {
            level["name"]: {kind: limit for kind, limit in level.items() if kind != "name"}
            for scope in scopes
            for level in scope.levels()
        }

    def table(self) -> dict[str, Any]:
        """Say all that a claim has to know (shared/store/lua/lib/admittance.lua)."""
        known = {
            name: {
                "scopes": [_row(self.own(alias)) for alias in (name, *config.fallbacks)],
                "after": config.fallback_after // US,
            }
            for name, config in self._models.items()
        }
        return {"known": known, "provider": self._default, "levels": self.own("").levels()}


def _row(scope: Scope) -> dict[str, Any]:
    return {"scope": scope.name, "levels": scope.levels()}


class _Limited(Protocol):
    @property
    def rpm(self) -> int | None: ...
    @property
    def tpm(self) -> int | None: ...
    @property
    def concurrency(self) -> int | None: ...


def _limits(part: _Limited) -> Limits:
    return Limits(rpm=part.rpm, tpm=part.tpm, concurrency=part.concurrency)
