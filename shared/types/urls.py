"""URLs in settings: refused at start when nothing could ever come of them. No message repeats the URL."""

from collections.abc import Callable
from typing import Annotated
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from pydantic import AfterValidator, SecretStr

from tandem.shared.types.spelling import nearest

REDIS = ("redis", "rediss", "unix", "redis+sentinel")
# Of redis-py's options those that can't break how we use it; its others, such as decode_responses, could.
REDIS_OPTIONS = ("db", "username", "password", "client_name")
TLS_OPTIONS = (
    *("ssl_cert_reqs", "ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_password"),
    "ssl_check_hostname",
)
CHOICES = {"ssl_cert_reqs": ("none", "optional", "required"), "ssl_check_hostname": ("true", "false")}


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


def _has_blanks(url: str) -> bool:
    return any(letter.isspace() for letter in url)


def _hidden(check: Callable[[str], str]) -> AfterValidator:
    def secret(url: SecretStr) -> SecretStr:
        check(url.get_secret_value())
        return url

    return AfterValidator(secret)


def _api(url: str) -> str:
    """Check the base URL of an API: a query is sent with every request; a login is not, keys have their own setting."""
    url = _scheme("http", "https")(url.strip())
    parts = urlsplit(url)
    if not parts.hostname or _has_blanks(url):
        raise ValueError("must name a host, and have no blanks")
    if "@" in parts.netloc:
        raise ValueError("must have no user and password; the key is a setting of its own")
    if parts.fragment:
        raise ValueError("must have no fragment (#)")
    return url


def _redis(url: str) -> str:
    """Check the database and the options too: redis-py ignores a bad database, and stumbles over an unknown option."""
    if "#" in url or (not url.startswith("unix") and _has_blanks(url)):
        raise ValueError("must have neither # nor blanks; in a password they are written %23 and %20")
    parts = urlsplit(_scheme(*REDIS)(url))
    options = parse_qsl(parts.query, keep_blank_values=True)
    database = dict(options).get("db", _database(parts))
    if not (database.isascii() and database.isdigit()):
        raise ValueError("the database must be a number, as in redis://host:6379/0")
    known = _options(parts.scheme)
    for name, value in options:
        if name not in known:
            raise ValueError(_unknown(name, known))
        if value not in CHOICES.get(name, (value,)):
            raise ValueError(f"the option {name} must be {' or '.join(CHOICES[name])}")
    return url


def _database(parts: SplitResult) -> str:
    path = unquote(parts.path).strip("/")
    if parts.scheme == "redis+sentinel":
        path = path.partition("/")[2]
    return "0" if parts.scheme == "unix" else path or "0"


def _options(scheme: str) -> tuple[str, ...]:
    if scheme == "redis+sentinel":
        return ()
    return REDIS_OPTIONS + (TLS_OPTIONS if scheme == "rediss" else ())


def _unknown(name: str, known: tuple[str, ...]) -> str:
    """Say what an option could have been, not what it is: it may be the rest of a password with a ? in it."""
    close = nearest(name, known)
    hint = f"did you mean {close}?" if close else f"known are {', '.join(known) or 'none'}"
    return f"unknown option; {hint}"


RedisUrl = Annotated[SecretStr, _hidden(_redis)]
SmtpUrl = Annotated[SecretStr, _hidden(_scheme("smtp", "smtps"))]
FilesUrl = Annotated[str, AfterValidator(_scheme("file", "s3"))]
HttpUrl = Annotated[str, AfterValidator(_scheme("http", "https"))]
ApiUrl = Annotated[str, AfterValidator(_api)]
