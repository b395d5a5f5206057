"""Which lane a job waits in: by the model that it names, or the default one."""

from dataclasses import dataclass

from tandem.shared.config.settings import Settings
from tandem.shared.tasks.spec import AnySpec, Input


@dataclass(frozen=True)
class Lanes:
    """The lanes by the settings' default models."""

    model: str
    embed_model: str

    @classmethod
    def of(cls, settings: Settings) -> "Lanes":
        """Take the settings' default models."""
        return cls(settings.model, settings.embed_model)

    def of_job(self, spec: AnySpec, payload: Input) -> str | None:
        """Give the record's field `lane`: tokens, sort and model of the first request; None if the task foretells none."""
        if spec.forecast is None:
            return None
        need = spec.forecast(payload)
        return f"{need.tokens} {need.sort} {need.model or (self.embed_model if need.embeds else self.model)}"
