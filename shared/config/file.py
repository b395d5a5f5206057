"""The file that TANDEM_CONFIG names: providers, models, API keys, tenants and schedules, validated at start.

A secret is never in the file: `api_key_env` and `key_env` name the environment variable that holds it.
"""

import re
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator

from tandem.shared.config.api_keys import NAME, Role
from tandem.shared.tasks.registry import load as load_catalog
from tandem.shared.types.duration import Duration
from tandem.shared.types.share import Share
from tandem.shared.types.spelling import nearest
from tandem.shared.types.urls import ApiUrl, HttpUrl

# Upper case only, as such variables are named: a key that was pasted here is no name.
Variable = Annotated[str, StringConstraints(pattern=r"^[A-Z_][A-Z0-9_]*$")]
Name = Annotated[str, StringConstraints(pattern=f"^{NAME.pattern}$")]
Text = Annotated[str, StringConstraints(min_length=1)]
Count = Annotated[int, Field(ge=1, le=10**9, strict=True)]
CRON_FIELDS = 5
SHOWN = 60


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Limits(_Part):
    """Over all processes; None is no limit."""

    rpm: Count | None = None
    tpm: Count | None = None
    concurrency: Count | None = None


class ProviderConfig(Limits):
    """An OpenAI-compatible server. `timeout` is for one whole answer, None is TANDEM_LLM_TIMEOUT."""

    base_url: ApiUrl = "https://api.openai.com/v1"
    api_key_env: Variable | None = None
    timeout: Annotated[Duration, Field(ge=timedelta(milliseconds=10))] | None = None
    stall_timeout: Annotated[Duration, Field(ge=timedelta(milliseconds=10))] = timedelta(seconds=8)


class ModelConfig(Limits):
    """A model as jobs name it; `provider` None is the first of the file, `name` None is the table's own name."""

    provider: str | None = None
    name: Text | None = None
    context_window: Annotated[int, Field(ge=256, strict=True)] | None = None
    fallbacks: tuple[str, ...] = ()
    fallback_after: Duration = timedelta(seconds=30)


class KeyConfig(_Part):
    """An API key, or with neither role nor key_env the limits of one that is declared elsewhere."""

    role: Role | None = None
    key_env: Variable | None = None
    rpm: Count | None = None
    share: Share | None = None
    webhook_url: HttpUrl | None = Field(default=None, repr=False)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.role is None) != (self.key_env is None):
            raise ValueError("role and key_env go together; leave out both for a key of TANDEM_API_KEYS")
        return self


class Concurrency(_Part):
    """How many jobs may run at once, over all workers of a pool; None is no limit."""

    llm: Count | None = None
    sync: Count | None = None


class TenantConfig(_Part):
    """Whose jobs they are: `weight` is its share where several want the same."""

    weight: Annotated[float, Field(ge=0.01, le=1000, strict=True)] = 1
    concurrency: Concurrency = Concurrency()


class TaskConfig(_Part):
    """A task: how many of its jobs may run at once, over all workers; None is what it declares."""

    concurrency: Count | None = None


class Schedule(_Part):
    """A task that the clock submits. `missed` is what becomes of times that passed while no clock ran."""

    name: Name
    task: str
    cron: str
    timezone: str = "UTC"
    input: dict[str, Any] = Field(default_factory=dict, repr=False)
    missed: Literal["skip", "once"] = "skip"
    owner: Name | None = None

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    @field_validator("cron")
    @classmethod
    def _cron(cls, value: str) -> str:
        if len(value.split()) != CRON_FIELDS:
            raise ValueError("must have 5 fields: minute, hour, day of month, month, day of week")
        try:
            happens = next(CronSim(value, datetime.now(UTC)), None)
        except CronSimError as error:
            raise ValueError(f"{error}: not in cron's syntax, or a date that never comes") from None
        if happens is None:
            raise ValueError("a date that never comes")
        return value

    @field_validator("timezone")
    @classmethod
    def _timezone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("must be a time zone of the IANA database, such as Europe/Berlin") from None
        return value

    @model_validator(mode="after")
    def _input(self) -> Self:
        specs = {spec.name: spec for spec in load_catalog()}
        if self.task not in specs:
            raise ValueError(f"task {unknown(self.task, specs)}")
        try:
            specs[self.task].input.model_validate(self.input)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            raise ValueError(f"input.{_place(first['loc'])} of {self.task}: {first['msg']}") from None
        return self


class Config(_Part):
    """The whole file. Names that are used are declared: each model's provider and fallbacks."""

    providers: dict[Name, ProviderConfig] = {}
    models: dict[Text, ModelConfig] = {}
    keys: dict[Name, KeyConfig] = {}
    tenants: dict[Name, TenantConfig] = {}
    tasks: dict[Name, TaskConfig] = {}
    schedules: tuple[Schedule, ...] = ()

    @model_validator(mode="after")
    def _names(self) -> Self:
        for title, model in self.models.items():
            place = _place(("models", title))
            if model.provider is not None and model.provider not in self.providers:
                raise ValueError(f"{place}.provider: {unknown(model.provider, self.providers)}")
            for fallback in model.fallbacks:
                if fallback not in self.models:
                    raise ValueError(f"{place}.fallbacks: {unknown(fallback, self.models)}")
            if len({title, *model.fallbacks}) <= len(model.fallbacks):
                raise ValueError(f"{place}.fallbacks: each model may stand only once, and not {title} itself")
        return self

    @model_validator(mode="after")
    def _tasks(self) -> Self:
        specs = {spec.name for spec in load_catalog()}
        if wrong := self.tasks.keys() - specs:
            raise ValueError(f"tasks.{unknown(min(wrong), specs)}")
        return self

    @model_validator(mode="after")
    def _once(self) -> Self:
        names = [schedule.name for schedule in self.schedules]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"schedules: the name {min(twice)} stands twice")
        return self


def read(path: Path) -> Config:
    """Read and validate the file.

    Raises:
        ValueError: one line a mistake: the place, the value unless it may be secret, and what is allowed.

    """
    try:
        content = tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        raise ValueError(f"the file can't be read: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{path}: not TOML: {error}") from None
    try:
        return Config.model_validate(content)
    except ValidationError as error:
        raise ValueError("\n".join(f"{path}: {_explain(item)}" for item in error.errors())) from None


def _explain(item: Any) -> str:
    said = item["msg"].removeprefix("Value error, ")
    if not item["loc"]:
        return str(said)
    if item["type"] == "extra_forbidden":
        above = _place(item["loc"][:-1])
        return (f"{above}: " if above else "") + unknown(str(item["loc"][-1]), _fields(item["loc"][:-1]))
    if item["loc"][-1] in {"api_key_env", "key_env"}:
        # What stands there may be the key itself.
        return f"{_place(item['loc'])}: must name an environment variable, in capitals such as OPENAI_API_KEY"
    plain = (
        isinstance(item["input"], (str, int, float)) and "://" not in str(item["input"]) and item["loc"][-1] != "role"
    )
    shown = f" = {item['input']!r:.{SHOWN}}" if plain else ""
    return f"{_place(item['loc'])}{shown}: {said}"


def unknown(name: str, known: Any) -> str:
    close = nearest(name, known)
    hint = f"did you mean {close}?" if close else f"known are {', '.join(known) or 'none'}"
    return f"{name!r:.{SHOWN}}: no such name; {hint}"


SECTIONS: Mapping[str, type[BaseModel]] = {
    "providers": ProviderConfig,
    "models": ModelConfig,
    "keys": KeyConfig,
    "tenants": TenantConfig,
    "tasks": TaskConfig,
    "schedules": Schedule,
}


def _fields(loc: tuple[int | str, ...]) -> list[str]:
    """List what may stand at a place."""
    part = Concurrency if loc[2:] == ("concurrency",) else SECTIONS[str(loc[0])] if loc else Config
    return list(part.model_fields)


def _place(loc: tuple[int | str, ...]) -> str:
    """Write a place as TOML would: `models."gpt-5.4-mini".rpm`."""
    plain = re.compile(r"[A-Za-z0-9_-]+")
    return ".".join(str(part) if plain.fullmatch(str(part)) else f'"{part}"' for part in loc)
