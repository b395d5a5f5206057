"""The API keys of all sources together: TANDEM_API_KEYS or the local set-up's files, and the config file."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from tandem.shared.config.api_keys import ApiKey, Role, check_once, unfit
from tandem.shared.config.file import Config, KeyConfig, unknown

Lookup = Callable[[str], str | None]
KEYLESS = {"external", "schedule"}  # owners of the jobs of plain arq and RQ, and of schedules that name none


def merge_keys(keys: tuple[ApiKey, ...], config: Mapping[str, KeyConfig], lookup: Lookup) -> tuple[ApiKey, ...]:
    """Add the file's keys to those declared elsewhere, and its limits to those of the same name.

    Raises:
        ValueError: a variable is unset, its key unfit, or a name or a key stands twice.

    """
    declared = {key.name: key for key in keys}
    merged = dict(declared)
    for name, part in config.items():
        if part.role is None and name not in declared:
            raise ValueError(f"keys.{name}: no such key in TANDEM_API_KEYS; give role and key_env to declare it here")
        if part.role is not None and name in declared:
            raise ValueError(f"keys.{name}: TANDEM_API_KEYS declares it too; leave out role and key_env here")
        key = _key(name, part, lookup) if part.role else declared[name]
        merged[name] = replace(key, rpm=part.rpm, share=part.share, webhook_url=part.webhook_url)
    check_once(tuple(merged.values()))
    return tuple(merged.values())


def _key(name: str, part: KeyConfig, lookup: Lookup) -> ApiKey:
    secret = secret_of(f"keys.{name}.key_env", part.key_env, lookup)
    if why := unfit(secret):
        raise ValueError(f"keys.{name}.key_env: {part.key_env}: {why}")
    return ApiKey(name, part.role or Role.USER, secret)


def check_owners(config: Config, names: Collection[str]) -> None:
    """See to it that each schedule's owner, and each tenant, is the name of a key. Raises ValueError."""
    for name in config.tenants:
        if name not in {*KEYLESS, *names}:
            raise ValueError(f"tenants.{unknown(name, names)}")
    for schedule in config.schedules:
        if schedule.owner not in {None, *names}:
            raise ValueError(f"schedules.{schedule.name}.owner: {unknown(str(schedule.owner), names)}")


def secret_of(place: str, variable: str | None, lookup: Lookup) -> str:
    """Read the variable that stands at `place`. Raises ValueError if it is unset."""
    if secret := lookup(variable or ""):
        return secret
    raise ValueError(f"{place}: the environment variable {variable} is unset")
