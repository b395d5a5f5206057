"""The providers that the settings declare: addresses and keys, checked at start, and who speaks to them.

An OpenAI-compatible one is only configured. Another kind implements `base.Provider` in a folder beside
`openai_compatible/`, and has its line here.
"""

from urllib.parse import urlsplit

from tandem.llm_worker.providers.base import Endpoint, Provider
from tandem.llm_worker.providers.openai_compatible.provider import OpenAICompatible
from tandem.shared.config.environment import environment
from tandem.shared.config.file import ProviderConfig
from tandem.shared.config.key_ring import secret_of
from tandem.shared.config.settings import STAND_IN, Settings, SettingsError

NO_KEY = "none"  # for servers that ask for none; the SDK insists on something


def open_providers(settings: Settings) -> list[Provider]:
    """Prepare each provider, the default one first; nothing is sent yet. Here alone implementations are named.

    Raises:
        SettingsError: as `endpoints`.

    """
    return [OpenAICompatible.open(endpoint) for endpoint in endpoints(settings)]


def endpoints(settings: Settings) -> list[Endpoint]:
    """List the providers, the default one first.

    Raises:
        SettingsError: no provider is declared, or an address or a key is missing or unusable.

    """
    if settings.config and settings.config.providers:
        return [_declared(name, part, settings) for name, part in settings.config.providers.items()]
    base_url, key = settings.llm
    part = ProviderConfig(base_url=base_url) if base_url else ProviderConfig()
    host = _host(part.base_url, "OPENAI_BASE_URL")
    _check(key, "OPENAI_API_KEY")
    name = (host if base_url else "openai") if settings.has_provider else STAND_IN
    return [_endpoint(name, part, key, host, settings)]


def _declared(name: str, part: ProviderConfig, settings: Settings) -> Endpoint:
    place = f"TANDEM_CONFIG: providers.{name}"
    host, key = _host(part.base_url, f"{place}.base_url"), NO_KEY
    if part.api_key_env:
        try:
            key = secret_of(f"{place}.api_key_env", part.api_key_env, environment)
        except ValueError as error:
            raise SettingsError(str(error)) from None
        _check(key, f"{place}.api_key_env: {part.api_key_env}")
    return _endpoint(name, part, key, host, settings)


def _endpoint(name: str, part: ProviderConfig, key: str, host: str, settings: Settings) -> Endpoint:
    return Endpoint(
        name=name,
        base_url=part.base_url,
        host=host,
        key=key,
        timeout=part.timeout or settings.llm_timeout,
        stall=part.stall_timeout,
    )


def _check(key: str, place: str) -> None:
    if not key.isascii() or not key.isprintable():
        raise SettingsError(f"{place}: must consist of printable ASCII characters")


def _host(base_url: str, place: str) -> str:
    try:
        parts = urlsplit(base_url)
        if parts.scheme in {"http", "https"} and parts.hostname:
            return parts.hostname
    except ValueError:
        pass
    raise SettingsError(f"{place}: must be an http:// or https:// URL")
