"""All settings: environment variables, also from `.env`, validated at start."""

import re
import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ByteSize, DirectoryPath, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from tandem.shared.config.api_keys import ApiKey, parse_keys, read_key_files
from tandem.shared.config.environment import DOTENV, ENCODING, check_names, cleaned, environment
from tandem.shared.config.file import Config
from tandem.shared.config.file import read as read_config
from tandem.shared.config.key_ring import check_owners, merge_keys
from tandem.shared.types.duration import Duration
from tandem.shared.types.share import Percentage
from tandem.shared.types.urls import ApiUrl, FilesUrl, RedisUrl, SmtpUrl

Memory = Annotated[ByteSize, Field(le=2**50)]
RQ_NAME = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)
WEBHOOK_SECRET_FILE = "webhook.secret"  # noqa: S105 - a file's name
SIGNING_SECRET = re.compile(r"whsec_[A-Za-z0-9+/]{32,88}={0,2}")


class Settings(BaseSettings):
    """Every setting of the platform; a field's alias is its environment variable."""

    model_config = SettingsConfigDict(
        env_file=DOTENV,
        env_file_encoding=ENCODING,
        dotenv_filtering="only_existing",
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,
        populate_by_name=True,
    )

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    dashboard_port: int = Field(default=9181, ge=1, le=65535)
    run_dir: Path = Path(".run")
    redis_url: RedisUrl | None = None
    llm_workers: int = Field(default=1, ge=0, le=256)
    sync_workers: int = Field(default=1, ge=0, le=256)

    openai_api_key: SecretStr | None = None
    openai_base_url: ApiUrl | None = Field(default=None, repr=False)
    model: str = Field(default="gpt-5.4-mini", validation_alias="TANDEM_MODEL")
    embed_model: str = Field(default="text-embedding-3-small", validation_alias="TANDEM_EMBED_MODEL")
    llm_concurrency: int = Field(default=100, ge=1, le=10_000, validation_alias="TANDEM_LLM_CONCURRENCY")
    llm_rpm: int | None = Field(default=None, ge=1, le=10**9, validation_alias="TANDEM_LLM_RPM")
    llm_tpm: int | None = Field(default=None, ge=1, le=10**9, validation_alias="TANDEM_LLM_TPM")
    llm_timeout: Duration = Field(default=timedelta(seconds=60), validation_alias="TANDEM_LLM_TIMEOUT")
    llm_max_block: Duration = Field(default=timedelta(seconds=30), validation_alias="TANDEM_LLM_MAX_BLOCK")
    llm_max_jobs: int | None = Field(default=None, ge=1, le=10**9, validation_alias="TANDEM_LLM_MAX_JOBS")
    llm_max_memory: Memory | None = Field(default=None, ge=64 * 1024**2, validation_alias="TANDEM_LLM_MAX_MEMORY")
    context_window: int = Field(default=128_000, ge=256, le=10**9, validation_alias="TANDEM_CONTEXT_WINDOW")

    config: Annotated[Config | None, NoDecode] = Field(default=None, validation_alias="TANDEM_CONFIG", repr=False)
    api_keys: Annotated[tuple[ApiKey, ...] | None, NoDecode] = Field(
        default=None, validation_alias="TANDEM_API_KEYS", repr=False
    )
    files_url: FilesUrl | None = Field(default=None, validation_alias="TANDEM_FILES_URL")
    smtp_url: SmtpUrl | None = None
    mail_from: str = Field(default="Tandem <tandem@localhost>", validation_alias="TANDEM_MAIL_FROM")
    templates: DirectoryPath | None = Field(default=None, validation_alias="TANDEM_TEMPLATES")
    database_url: SecretStr | None = None
    alembic: Path | None = Field(default=None, validation_alias="TANDEM_ALEMBIC")

    rq_imports: Annotated[tuple[str, ...] | None, NoDecode] = Field(default=None, validation_alias="TANDEM_RQ_IMPORTS")
    rq_queues: Annotated[tuple[str, ...], NoDecode] = Field(default=("default",), validation_alias="TANDEM_RQ_QUEUES")

    job_ttl: Duration = Field(default=timedelta(days=7), validation_alias="TANDEM_JOB_TTL")
    max_age: Duration = Field(default=timedelta(hours=24), validation_alias="TANDEM_MAX_AGE")
    queue_max: int = Field(default=100_000, ge=1, le=10**9, validation_alias="TANDEM_QUEUE_MAX")
    key_rpm: int | None = Field(default=None, ge=1, le=10**9, validation_alias="TANDEM_KEY_RPM")
    key_share: Percentage = Field(default=1.0, validation_alias="TANDEM_KEY_SHARE")
    redis_share: Percentage = Field(default=0.85, validation_alias="TANDEM_REDIS_SHARE")
    idempotency_ttl: Duration = Field(default=timedelta(hours=24), validation_alias="TANDEM_IDEMPOTENCY_TTL")
    webhook_secret: SecretStr | None = Field(default=None, validation_alias="TANDEM_WEBHOOK_SECRET")
    metrics_public: bool = Field(default=False, validation_alias="TANDEM_METRICS_PUBLIC")
    allow_private_webhooks: bool = Field(default=False, validation_alias="TANDEM_ALLOW_PRIVATE_WEBHOOKS")
    grace: Duration = Field(default=timedelta(seconds=25), validation_alias="TANDEM_GRACE")
    max_body: ByteSize = Field(default=ByteSize(1024 * 1024), ge=1024, le=2**30, validation_alias="TANDEM_MAX_BODY")
    sync_concurrency: int = Field(default=1, ge=1, le=64, validation_alias="TANDEM_SYNC_CONCURRENCY")
    sync_memory: Memory = Field(default=ByteSize(1024**3), ge=128 * 1024**2, validation_alias="TANDEM_SYNC_MEMORY")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", validation_alias="TANDEM_LOG_LEVEL")
    log_format: Literal["auto", "console", "json"] = Field(default="auto", validation_alias="TANDEM_LOG_FORMAT")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic's signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: Any,  # pydantic's own type of these two does not tell that they have `env_vars`
        dotenv_settings: Any,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Code may use a field's name, the environment only its variable: LOG_LEVEL or MODEL are somebody else's."""
        for source in (env_settings, dotenv_settings):
            source.config = {**source.config, "populate_by_name": False}
            source.env_vars = cleaned(source.env_vars)
        return init_settings, env_settings, dotenv_settings

    @field_validator("config", mode="before")
    @classmethod
    def _config(cls, value: Any) -> Any:
        return read_config(Path(value)) if isinstance(value, (str, Path)) else value

    @field_validator("api_keys", mode="before")
    @classmethod
    def _keys(cls, value: Any) -> Any:
        return parse_keys(value) if isinstance(value, str) else value

    @property
    def redis(self) -> str:
        """The URL of Redis: the setting, or what the embedded server recorded.

        Raises:
            SettingsError: neither is there.

        """
        if self.redis_url:
            return self.redis_url.get_secret_value()
        return self._recorded("redis.url", "REDIS_URL is unset and no embedded server runs: `make redis` starts one")

    @property
    def smtp(self) -> str:
        """The URL of the mail server: the setting, or what the local mail catcher recorded."""
        if self.smtp_url:
            return self.smtp_url.get_secret_value()
        return self._recorded("smtp.url", "SMTP_URL is unset and no mail catcher runs: `make mailbox` starts one")

    @property
    def llm(self) -> tuple[str | None, str]:
        """Base URL (None: the SDK's default) and API key of the default provider, or the local stand-in's."""
        if self.openai_api_key or self.openai_base_url:
            key = self.openai_api_key.get_secret_value() if self.openai_api_key else "none"
            return self.openai_base_url, key
        missing = "OPENAI_API_KEY and OPENAI_BASE_URL are unset and no stand-in runs: `make llm-stub` starts one"
        return self._recorded("llm.url", missing), "local"

    @property
    def has_provider(self) -> bool:
        """Whether a provider is declared; else the local set-up starts a stand-in."""
        return bool(self.openai_api_key or self.openai_base_url or (self.config and self.config.providers))

    @property
    def has_keys(self) -> bool:
        """Whether TANDEM_API_KEYS declares keys; else the local set-up makes some, beside those of the config file."""
        return bool(self.api_keys)

    @property
    def webhook_key(self) -> str | None:
        """The secret that signs webhooks: the setting, or the one that the local set-up made; None without any."""
        if self.webhook_secret:
            return self.webhook_secret.get_secret_value()
        path = self.run_dir / WEBHOOK_SECRET_FILE
        return path.read_text().strip() if path.exists() else None

    @property
    def files(self) -> str:
        """The URL of the artefacts' store."""
        return self.files_url or (self.run_dir.resolve() / "files").as_uri()

    @property
    def keys(self) -> tuple[ApiKey, ...]:
        """The API keys: the setting's, or those of the local set-up's key files; and the config file's.

        Raises:
            SettingsError: none is there, the variable of one is unset, or a tenant or a schedule's owner has none.

        """
        config = self.config or Config()
        try:
            if merged := merge_keys(self._own_keys, config.keys, environment):
                check_owners(config, {key.name for key in merged})
                return merged
        except ValueError as error:
            raise SettingsError(f"TANDEM_CONFIG: {error}") from None
        raise SettingsError("TANDEM_API_KEYS is unset: give name:role:key, comma-separated; role user or admin")

    @property
    def _own_keys(self) -> tuple[ApiKey, ...]:
        """Keys that are not the config file's, which counts where it declares a name of the local set-up."""
        declared = {name for name, key in (self.config or Config()).keys.items() if key.role}
        local = () if self.api_keys else read_key_files(self.run_dir)
        return self.api_keys or tuple(key for key in local if key.name not in declared)

    def check_owners(self) -> None:
        """Check tenants and the owners of schedules, in a process that is told all names of keys.

        Raises:
            SettingsError: one has no key.

        """
        config = self.config or Config()
        if names := {key.name for key in self._own_keys}:
            try:
                check_owners(config, names | config.keys.keys())
            except ValueError as error:
                raise SettingsError(f"TANDEM_CONFIG: {error}") from None

    def _recorded(self, name: str, missing: str) -> str:
        """Read an address that a local helper wrote under RUN_DIR."""
        path = self.run_dir / name
        if not path.exists():
            raise SettingsError(missing)
        return path.read_text().strip()

    @field_validator("rq_imports", "rq_queues", mode="before")
    @classmethod
    def _names_in_a_row(cls, value: Any) -> Any:
        names = tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value
        if names and not all(RQ_NAME.fullmatch(name) for name in names):
            raise ValueError("must be names such as shop.tasks, comma-separated")
        return names

    @field_validator("run_dir")
    @classmethod
    def _folder(cls, value: Path) -> Path:
        if value.exists() and not value.is_dir():
            raise ValueError("must be a folder, or a path where one can be made")
        return value

    @field_validator("webhook_secret")
    @classmethod
    def _signs(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not SIGNING_SECRET.fullmatch(value.get_secret_value()):
            raise ValueError("must be whsec_ and 24 to 64 bytes in base64")
        return value

    @field_validator("llm_max_block")
    @classmethod
    def _longer_than_noticed(cls, value: timedelta) -> timedelta:
        if value < timedelta(seconds=2):
            raise ValueError("must be at least 2s")
        return value

    @field_validator("job_ttl", "llm_timeout")
    @classmethod
    def _not_nothing(cls, value: timedelta) -> timedelta:
        if value < timedelta(milliseconds=10):
            raise ValueError("must be at least 0.01s")
        return value


SECRET = frozenset({"webhook_secret", "redis_url", "openai_api_key", "api_keys", "smtp_url", "database_url"})
HINTS = {"byte_size": "must be a size such as 512 KiB, 1 MiB or 2MB"}  # where pydantic does not say what is allowed
BAD_SETTING = 2
STAND_IN = "stand-in"  # the provider's name in jobs that the local stand-in answered


class SettingsError(Exception):
    """A setting is wrong or missing; the message is one line a setting."""


def variable(field: str) -> str:
    """Name the environment variable of a field."""
    alias = Settings.model_fields[field].validation_alias
    return alias if isinstance(alias, str) else field.upper()


def load() -> Settings:
    """Read and validate the environment and `.env`.

    Raises:
        SettingsError: names the variable, the value (unless secret) and what is allowed.

    """
    try:
        check_names({variable(field) for field in Settings.model_fields})
        return Settings()
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(item) for item in error.errors())) from None
    except ValueError as error:  # of names, or of `.env` as a whole
        raise SettingsError(str(error)) from None


def load_or_exit() -> Settings:
    """Like `load`, for an entry point: a bad setting is printed and ends the process with 2."""
    try:
        return load()
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(BAD_SETTING) from None


def _explain(item: Any) -> str:
    place = str(item["loc"][0])
    field = next((name for name in Settings.model_fields if place in (name, variable(name))), place)
    value = repr(item["input"])
    secret = field in SECRET or ("://" in value and ("@" in value or "?" in value))  # a URL with a password or a key
    shown = "" if secret else f"={value}"
    said = HINTS.get(item["type"]) or item["msg"].removeprefix("Value error, ")
    return "\n".join(f"{variable(field)}{shown}: {line}" for line in said.splitlines())
