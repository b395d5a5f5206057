"""Looking hosts up: in a thread of its own, each address once, and checked by whoever connects."""

import asyncio

import pytest

from tandem.shared.net.resolver import Refusal, refusal, resolve, resolve_soon

NOWHERE = "no-such-host.invalid"  # RFC 6761


def test_a_host_has_each_address_once() -> None:
    found = resolve("localhost", 80, patience=30)
    assert found
    assert len(set(found)) == len(found)
    assert set(found) <= {"127.0.0.1", "::1"}


async def test_it_is_the_same_beside_an_event_loop() -> None:
    assert await resolve_soon("localhost", 80) == resolve("localhost", 80, patience=30)


async def test_a_host_that_is_not_there_is_an_error_for_both() -> None:
    assert isinstance(await resolve_soon(NOWHERE, 80), OSError)
    with pytest.raises(OSError, match=r"."):
        resolve(NOWHERE, 80, patience=30)


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..example"])
def test_a_name_that_can_be_none_is_an_error_and_no_crash(host: str) -> None:
    with pytest.raises(OSError, match=r"."):
        resolve(host, 80, patience=30)


async def test_a_look_up_goes_on_when_nobody_waits_for_it() -> None:
    """So that its place is given back only when its thread is gone."""
    looking = resolve_soon("localhost", 80)
    waiting = asyncio.ensure_future(asyncio.shield(looking))
    waiting.cancel()
    await asyncio.wait({waiting})
    assert await looking


@pytest.mark.parametrize(
    ("addresses", "allow_private", "expected"),
    [
        (["93.184.215.14"], False, None),
        (["93.184.215.14", "10.0.0.1", "127.0.0.1"], False, Refusal("10.0.0.1", "private")),
        (["169.254.169.254"], False, Refusal("169.254.169.254", "link-local")),
        (["::ffff:127.0.0.1"], False, Refusal("::ffff:127.0.0.1", "loopback")),
        (["10.0.0.1"], True, None),
        ([], False, None),
    ],
)
def test_one_address_that_is_not_global_is_enough(
    addresses: list[str], *, allow_private: bool, expected: Refusal | None
) -> None:
    assert refusal(addresses, allow_private=allow_private) == expected
