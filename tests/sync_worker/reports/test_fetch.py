"""No request to a user's URL leaves the public internet, and none lasts or grows without bound."""

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.shared.errors import FinalError, TransientError
from tandem.shared.net.ssrf import SPECIAL_V4, SPECIAL_V6, RefusedUrl, check_address, check_url
from tandem.sync_worker.reports.fetch import Client, Limits
from tests.support.servers.https import SVG

INNER = st.sampled_from([IPv4Network(net) for net in SPECIAL_V4]).flatmap(
    lambda net: st.integers(int(net.network_address), int(net.broadcast_address)).map(IPv4Address)
)


def client(**limits: float) -> Client:
    return Client(allow_private=True, limits=Limits(**limits))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("10.1.2.3", "private"),
        ("172.31.255.255", "private"),
        ("192.168.0.1", "private"),
        ("127.0.0.1", "loopback"),
        ("0.0.0.0", "unspecified"),
        ("169.254.169.254", "link-local"),
        ("100.64.0.1", "carrier-grade NAT"),
        ("224.0.0.1", "multicast"),
        ("255.255.255.255", "reserved"),
        ("168.63.129.16", "the host agent of Azure's machines"),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("fd00:ec2::254", "private"),
        ("ff02::1", "multicast"),
        ("2001:db8::1", "documentation"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "reserved (Teredo and other protocols)"),
        ("::ffff:10.0.0.1", "private"),
        ("::127.0.0.1", "not globally routable"),
        ("::ffff:0:127.0.0.1", "not globally routable"),
        ("64:ff9b::169.254.169.254", "link-local"),
        ("64:ff9b:1::8.8.8.8", "private NAT64"),
        ("2002:7f00:1::1", "loopback"),
        ("4000::1", "not globally routable"),
    ],
)
def test_special_addresses_are_refused_by_name(address: str, reason: str) -> None:
    assert check_address(address) == reason


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "100.63.255.255", "172.32.0.1", "2606:4700::1111", "64:ff9b::8.8.8.8", "::ffff:1.1.1.1"]
)
def test_public_addresses_are_allowed(address: str) -> None:
    assert check_address(address) is None


@given(INNER)
def test_a_special_address_stays_special_inside_ipv6(inner: IPv4Address) -> None:
    number = int(inner)
    assert check_address(inner)
    assert check_address(IPv6Address((0xFFFF << 32) | number))
    assert check_address(IPv6Address((0x64FF9B << 96) | number))
    assert check_address(IPv6Address((0x2002 << 112) | (number << 80) | 1))


@given(st.ip_addresses())
def test_what_python_calls_private_is_never_allowed(address: IPv4Address | IPv6Address) -> None:
    if check_address(address) is None:
        embedded = isinstance(address, IPv6Address) and (address.ipv4_mapped or address.sixtofour)
        assert address.is_global or embedded
        assert not address.is_multicast


@given(st.sampled_from([*SPECIAL_V4, *SPECIAL_V6]), st.data())
def test_every_address_of_a_special_network_is_refused(net: str, data: st.DataObject) -> None:
    network = ip_network(net)
    number = data.draw(st.integers(int(network.network_address), int(network.broadcast_address)))
    assert check_address(type(network.network_address)(number))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("file:///etc/passwd", "only https: URLs"),
        ("http://example.com/", "only https: URLs"),
        ("ftp://example.com/", "only https: URLs"),
        ("https://ada:secret@example.com/", "user name or password"),
        ("https:///path", "no valid host name"),
        ("https://exa mple.com/", "a space"),
        ("https://example.com\\@127.0.0.1/", "a backslash"),
        ("https://example.com:99999/", "Port out of range"),
        ("https://[::1/", "Invalid IPv6 URL"),
        ("https://127.0.0.1/", "loopback"),
        ("https://[::ffff:169.254.169.254]/", "link-local"),
        ("https://[fe80::1%25eth0]/", "no valid host name"),
        ("https://" + "a" * 300 + ".com/", "host name is not valid"),
    ],
)
def test_a_bad_url_is_refused_before_any_look_up(url: str, reason: str) -> None:
    with pytest.raises(RefusedUrl, match=reason) as caught:
        check_url(url)
    assert caught.value.type == "refused_url"
    assert "secret" not in caught.value.message


def test_a_good_url_is_taken_apart() -> None:
    target = check_url("https://münchen.de:8443/é?q=1#part")
    assert (target.host, target.port, target.path) == ("xn--mnchen-3ya.de", 8443, "/%C3%A9?q=1")
    assert target.authority == "xn--mnchen-3ya.de:8443"
    assert check_url("https://[2606:4700::1111]/").authority == "[2606:4700::1111]"


def test_a_name_that_resolves_to_a_private_address_is_refused(site: str) -> None:
    with pytest.raises(RefusedUrl, match=r"has the address 127\.0\.0\.1, which is loopback"):
        Client().get(f"https://localhost:{site.rpartition(':')[2]}/logo.svg")


@pytest.mark.parametrize("host", ["0x7f.1", "2130706433", "127.1", "127.0.0.1.", "0177.0.0.1"])
def test_an_address_in_another_spelling_is_refused(host: str) -> None:
    with pytest.raises(RefusedUrl, match=r"it has no valid host name|loopback"):
        check_url(f"https://{host}/")


def test_an_answer_is_read_whole(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # proxies of the environment are not used
    answer = client().get(f"{site}/logo.svg?size=2")
    assert answer.body == SVG
    assert answer.headers["content-type"] == "image/svg+xml"


def test_a_redirect_is_not_followed(site: str) -> None:
    with pytest.raises(RefusedUrl, match=r"/to-private was refused: it redirects \(302\) to http://169\.254"):
        client().get(f"{site}/to-private")


def test_tls_verifies_the_name_although_the_address_is_fixed(site: str) -> None:
    with pytest.raises(FinalError, match="certificate is not valid: IP address mismatch") as caught:
        client().get(site.replace("localhost", "127.0.0.1") + "/logo.svg")
    assert not caught.value.retryable


@pytest.mark.parametrize(("path", "reason"), [("/missing", "answered 404"), ("/zipped.css", "gzip-compressed")])
def test_what_another_attempt_can_not_mend_is_final(site: str, path: str, reason: str) -> None:
    with pytest.raises(FinalError, match=f"{path} could not be fetched: .*{reason}"):
        client().get(f"{site}{path}")


def test_a_busy_server_is_asked_again(site: str) -> None:
    with pytest.raises(TransientError, match="/busy could not be fetched: the server answered 503"):
        client().get(f"{site}/busy")


def test_a_body_without_end_is_cut(site: str) -> None:
    with pytest.raises(FinalError, match="larger than 100000 bytes"):
        client(bytes=100_000).get(f"{site}/endless")


def test_a_server_that_sends_drop_by_drop_runs_out_of_time(site: str) -> None:
    with pytest.raises(TransientError, match=r"longer than 0\.3 s"):
        client(seconds=0.3).get(f"{site}/drip")


def test_a_closed_port_is_asked_again(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(TransientError, match=r"could not be fetched: .*refused"):
        client().get(f"https://127.0.0.1:{port}/{tmp_path.name}")


def test_an_unknown_host_is_final() -> None:
    with pytest.raises((FinalError, TransientError), match=r"nowhere\.invalid"):
        client(seconds=5).get("https://nowhere.invalid/")
