"""Where a request to a URL from outside may go. Pure: nothing is resolved or opened here.

Who sends one looks the host up and has each address checked by `resolver.py`. For all of them: no redirect is followed,
no proxy of the environment is used, no cookie is kept, and time and size are bounded.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import quote, urlsplit

from tandem.shared.errors import FinalError

DEFAULT_PORTS = {"https": 443, "http": 80}
NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")

# IANA's special-purpose registries (RFC 6890 and updates), written out because `is_global` changed
# between patch releases of Python and takes multicast for global.
SPECIAL_V4 = {
    "0.0.0.0/8": "unspecified",
    "10.0.0.0/8": "private",
    "100.64.0.0/10": "carrier-grade NAT",
    "127.0.0.0/8": "loopback",
    "168.63.129.16/32": "the host agent of Azure's machines",
    "169.254.0.0/16": "link-local",
    "172.16.0.0/12": "private",
    "192.0.0.0/24": "reserved",
    "192.0.2.0/24": "documentation",
    "192.88.99.0/24": "reserved",
    "192.168.0.0/16": "private",
    "198.18.0.0/15": "benchmarking",
    "198.51.100.0/24": "documentation",
    "203.0.113.0/24": "documentation",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved",
}
SPECIAL_V6 = {
    "::/128": "unspecified",
    "::1/128": "loopback",
    "64:ff9b:1::/48": "private NAT64",
    "2001::/23": "reserved (Teredo and other protocols)",
    "2001:db8::/32": "documentation",
    "3fff::/20": "documentation",
    "fc00::/7": "private",
    "fe80::/10": "link-local",
    "fec0::/10": "private",
    "ff00::/8": "multicast",
}
_V4 = {IPv4Network(net): reason for net, reason in SPECIAL_V4.items()}
_V6 = {IPv6Network(net): reason for net, reason in SPECIAL_V6.items()}
_UNICAST = IPv6Network("2000::/3")  # the only IPv6 space in global use
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052; what a DNS64 answers in an IPv6-only network


class RefusedUrl(FinalError):
    """A URL that no request may be sent to."""

    type = "refused_url"

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"{shorten(url)} was refused: {reason}")
        self.url = url
        self.reason = reason


@dataclass(frozen=True)
class Target:
    """The parts of an accepted URL. `host` is ASCII without brackets, `path` holds the query too."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def check_address(address: str | IPv4Address | IPv6Address) -> str | None:
    """Say why no request may go to `address`; None if it is globally routable.

    Raises:
        ValueError: not an IP address.

    """
    ip = ip_address(address)
    if isinstance(ip, IPv4Address):
        return next((reason for net, reason in _V4.items() if ip in net), None)
    if inner := _embedded(ip):
        return check_address(inner)
    if reason := next((reason for net, reason in _V6.items() if ip in net), None):
        return reason
    return None if ip in _UNICAST and ip.scope_id is None else "not globally routable"


def check_url(url: str, *, schemes: Collection[str] = ("https",), allow_private: bool = False) -> Target:
    """Take a URL apart and refuse what can be refused without a look-up.

    Raises:
        RefusedUrl: another scheme, a user or password, no host, a bad port, characters that
            parsers disagree on, or (unless `allow_private`) an address that is not global.

    """
    if any(char <= " " or char in '\\<>"\x7f' for char in url):
        raise RefusedUrl(url, "it holds a space, a backslash or another forbidden character")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise RefusedUrl(url, str(error)) from error
    if parts.scheme not in schemes:
        raise RefusedUrl(url, f"only {' and '.join(f'{scheme}:' for scheme in schemes)} URLs are fetched")
    if "@" in parts.netloc:
        raise RefusedUrl(parts._replace(netloc=f"***@{parts.hostname}").geturl(), "it holds a user name or password")
    host = _ascii(url, parts.hostname or "")
    if not allow_private and (reason := _literal(host)):
        raise RefusedUrl(url, f"the address is {reason}")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    path = quote(path, safe="/:?#[]@!$&'()*+,;=~%")
    return Target(parts.scheme, host, DEFAULT_PORTS[parts.scheme] if port is None else port, path)


def shorten(url: str, limit: int = 200) -> str:
    """Cut a URL to what fits a message: a query may hold a secret."""
    shown = url.partition("?")[0].partition("#")[0]
    return shown if len(shown) <= limit else f"{shown[:limit]}…"


def _embedded(ip: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that traffic to `ip` ends at: IPv4-mapped, NAT64 or 6to4."""
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour


def _ascii(url: str, host: str) -> str:
    try:
        name = host if ":" in host else host.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise RefusedUrl(url, "its host name is not valid") from error
    if not name or "%" in name or _disguised(name):
        raise RefusedUrl(url, "it has no valid host name")
    return name


def _disguised(host: str) -> bool:
    """Tell an address in another spelling (`2130706433`, `127.1`, `0x7f.1`): some clients connect to it unresolved.

    As WHATWG's URL Standard has it: a host whose last part is a number is an IPv4 address or nothing.
    """
    last = host.rstrip(".").rpartition(".")[2].lower()
    if ":" in host or not NUMBER.fullmatch(last):
        return False
    try:
        ip_address(host)
    except ValueError:
        return True
    return False


def _literal(host: str) -> str | None:
    """Check a host that is an address already; a name is checked once it is resolved."""
    try:
        return check_address(host)
    except ValueError:
        return None
