"""API keys: who may call, in which role."""

import re
import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from hmac import compare_digest
from pathlib import Path

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
MIN_LENGTH = 16


class Role(StrEnum):
    USER = "user"
    ADMIN = "admin"


@dataclass(frozen=True)
class ApiKey:
    """A key's name (the owner of what it submits), role and secret."""

    name: str
    role: Role
    secret: str = field(repr=False)

    def matches(self, secret: str) -> bool:
        """Compare in constant time."""
        return compare_digest(self.secret.encode(), secret.encode("utf-8", "surrogateescape"))


def parse_keys(text: str) -> tuple[ApiKey, ...]:
    """Parse `name:role:key`, comma-separated.

    Raises:
        ValueError: says which entry is wrong, never the key itself.

    """
    keys = tuple(_parse_key(entry.strip(), number) for number, entry in enumerate(text.split(","), 1) if entry.strip())
    if not keys:
        raise ValueError("expected name:role:key, comma-separated")
    if len({key.name for key in keys}) < len(keys):
        raise ValueError("each name may stand only once")
    return keys


def _parse_key(entry: str, number: int) -> ApiKey:
    name, _, rest = entry.partition(":")
    role, _, secret = rest.partition(":")
    if not NAME.fullmatch(name):
        raise ValueError(f"entry {number}: a name is of letters, digits, _ and -, at most 64")
    if role not in set(Role):
        raise ValueError(f"entry {number} ({name}): the role is user or admin")
    if len(secret) < MIN_LENGTH:
        raise ValueError(f"entry {number} ({name}): a key has at least {MIN_LENGTH} characters")
    return ApiKey(name, Role(role), secret)


def find(keys: tuple[ApiKey, ...], secret: str) -> ApiKey | None:
    """Find the key that matches; every key is compared, so that time tells nothing."""
    matching = [key for key in keys if key.matches(secret)]
    return matching[0] if matching else None


def key_files(run_dir: Path) -> dict[Role, Path]:
    """Where the local set-up keeps its keys."""
    return {role: run_dir / f"{role}.key" for role in Role}


def read_key_files(run_dir: Path) -> tuple[ApiKey, ...]:
    """Read the local set-up's keys, those that exist."""
    return tuple(
        ApiKey(role.value, role, path.read_text().strip()) for role, path in key_files(run_dir).items() if path.exists()
    )


def make_key_files(run_dir: Path) -> None:
    """Make the keys of the local set-up, mode 0600, those that don't exist."""
    for path in key_files(run_dir).values():
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(f"{secrets.token_urlsafe(32)}\n")
