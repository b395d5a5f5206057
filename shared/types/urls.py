"""URLs in settings: refused at start when nothing could ever come of them."""

from collections.abc import Callable
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, SecretStr


def _scheme(*allowed: str) -> Callable[[str], str]:
    """Make a check of a URL's scheme and port; its message never repeats the URL, which may hold a password."""
    wanted = ", ".join(f"{name}://" for name in allowed)

    def check(url: str) -> str:
        try:
            known = urlsplit(url).scheme in allowed and _ports_are_numbers(url)
        except ValueError:
            known = False
        if not known:
            raise ValueError(f"must be a URL that begins with {wanted}")
        return url

    return check


def _ports_are_numbers(url: str) -> bool:
    """Look at each host of a list too, as `redis+sentinel://` has it."""
    hosts = urlsplit(url).netloc.rpartition("@")[2].split(",")
    return all(urlsplit(f"//{host}").port is not None or ":" not in host.rpartition("]")[2] for host in hosts)


def _hidden(check: Callable[[str], str]) -> AfterValidator:
    def secret(url: SecretStr) -> SecretStr:
        check(url.get_secret_value())
        return url

    return AfterValidator(secret)


RedisUrl = Annotated[SecretStr, _hidden(_scheme("redis", "rediss", "unix", "redis+sentinel"))]
SmtpUrl = Annotated[SecretStr, _hidden(_scheme("smtp", "smtps"))]
FilesUrl = Annotated[str, AfterValidator(_scheme("file", "s3"))]
HttpUrl = Annotated[str, AfterValidator(_scheme("http", "https"))]
