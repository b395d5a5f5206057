"""API keys: who may call, in which role."""

import os
import re
import secrets
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from hmac import compare_digest
from pathlib import Path

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
MIN_LENGTH = 16
SECRET = re.compile(r"[!-~]+")


class Role(StrEnum):
    USER = "user"
    ADMIN = "admin"


@dataclass(frozen=True)
class ApiKey:
    """A key's name (the owner of what it submits), role and secret.

    `rpm` (submissions a minute), `share` (of a queue's places, 0 to 1) and `webhook_url` are what TANDEM_CONFIG
    says of this key; None is the platform's setting.
    """

    name: str
    role: Role
    secret: str = field(repr=False)
    rpm: int | None = None
    share: float | None = None
    webhook_url: str | None = field(default=None, repr=False)

    def matches(self, secret: str) -> bool:
        """Compare in constant time."""
        return compare_digest(self.secret.encode("utf-8", "surrogatepass"), secret.encode("utf-8", "surrogatepass"))


def parse_keys(text: str) -> tuple[ApiKey, ...]:
    """Parse `name:role:key`, comma-separated.

    Raises:
        ValueError: says which entry is wrong, never the key itself.

    """
    keys = tuple(_parse_key(entry.strip(), number) for number, entry in enumerate(text.split(","), 1) if entry.strip())
    if not keys:
        raise ValueError("expected name:role:key, comma-separated")
    check_once(keys)
    return keys


def check_once(keys: Sequence[ApiKey]) -> None:
    """Raise ValueError where a name or a secret stands twice."""
    if len({key.name for key in keys}) < len(keys):
        raise ValueError("each name may stand only once")
    if len({key.secret for key in keys}) < len(keys):
        raise ValueError("each key may stand only once")


def _parse_key(entry: str, number: int) -> ApiKey:
    """Read one entry. No part of it is ever quoted: with a part missing, the key is where the name should be."""
    name, _, rest = entry.partition(":")
    role, _, secret = rest.partition(":")
    if not NAME.fullmatch(name):
        raise ValueError(f"entry {number}: a name is of letters, digits, _ and -, at most 64")
    if role not in set(Role):
        raise ValueError(f"entry {number}: the role is user or admin")
    if why := unfit(secret):
        raise ValueError(f"entry {number}: {why}")
    return ApiKey(name, Role(role), secret)


def unfit(secret: str) -> str | None:
    """Say why a secret can't be used."""
    if len(secret) < MIN_LENGTH:
        return f"a key has at least {MIN_LENGTH} characters"
    return None if SECRET.fullmatch(secret) else "a key is of visible ASCII characters, as HTTP carries no others"


def find(keys: tuple[ApiKey, ...], secret: str) -> ApiKey | None:
    """Find the key that matches; every key is compared, so that time tells nothing."""
    matching = [key for key in keys if key.matches(secret)]
    return matching[0] if matching else None


def key_files(run_dir: Path) -> dict[Role, Path]:
    """Where the local set-up keeps its keys."""
    return {role: run_dir / f"{role}.key" for role in Role}


def read_key_files(run_dir: Path) -> tuple[ApiKey, ...]:
    """Read the local set-up's keys, those that exist; an empty or cut file must not let an empty password in."""
    found = {role: _read(path) for role, path in key_files(run_dir).items()}
    return tuple(ApiKey(role.value, role, secret) for role, secret in found.items() if len(secret) >= MIN_LENGTH)


def _read(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""


def make_key_files(run_dir: Path) -> None:
    """Make the keys of the local set-up, mode 0600, those that don't exist: whole or not at all."""
    for path in key_files(run_dir).values():
        if path.exists() and len(_read(path)) < MIN_LENGTH:
            path.unlink(missing_ok=True)
        make_secret_file(path, secrets.token_urlsafe(32))


def make_secret_file(path: Path, secret: str) -> None:
    """Write a secret, mode 0600, whole or not at all, unless there is one."""
    if path.exists():
        return
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.") as draft:  # made with mode 0600
        draft.write(f"{secret}\n")
        draft.flush()
        with suppress(FileExistsError):  # another part was faster; both use what it made
            os.link(draft.name, path)
