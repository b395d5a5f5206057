"""Which lane a job waits in: by the model that it names, or the default one."""

from dataclasses import dataclass

from pydantic import ValidationError

from tandem.shared.config.file import Config
from tandem.shared.config.settings import Settings
from tandem.shared.tasks.spec import AnySpec, Input


@dataclass(frozen=True)
class Lanes:
    """The lanes by the settings' default models."""

    model: str
    embed_model: str
    named: frozenset[str] | None = None  # models with a lane of their own; None: each has one
    tasks: frozenset[str] = frozenset()  # of which so many may run at once, by the settings

    @classmethod
    def of(cls, settings: Settings) -> "Lanes":
        """Take the settings' default models."""
        config = settings.config or Config()
        named = frozenset({settings.model, settings.embed_model, *config.models})
        tasks = frozenset(name for name, part in config.tasks.items() if part.concurrency)
        return cls(settings.model, settings.embed_model, named, tasks)

    def has_limit(self, spec: AnySpec) -> bool:
        """Say whether only so many jobs of this task may run at once."""
        return spec.concurrency is not None or spec.name in self.tasks

    def of_job(self, spec: AnySpec, payload: Input) -> str | None:
        """Give the record's field `lane`: tokens, sort, model of the first request; None without a forecast."""
        if spec.forecast is None:
            return None
        need = spec.forecast(payload)
        model = need.model or (self.embed_model if need.embeds else self.model)
        shared = "" if self.named is None or model in self.named else "~"
        return f"{need.tokens} {need.sort}{shared} {model}"

    def of_text(self, spec: AnySpec, payload: str) -> str | None:
        """Give the same of an input as JSON, which may be wrong: then its attempt says so."""
        try:
            return self.of_job(spec, spec.input.model_validate_json(payload))
        except ValidationError:
            return None
