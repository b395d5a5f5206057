"""Texts as they are kept: compressed from 1 KB on, never longer than plain, and read back whole or not at all."""

import json
import sys
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.shared.jobs.texts import LEVEL, LONG, MARK, pack, unpack
from tests.support.processes import ROOT

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ENGLISH = (ROOT / "docs/decisions/job-book.md").read_text() + (ROOT / "docs/reliability.md").read_text()
BOMB = 100 * 1024 * 1024


def frame(plain: bytes) -> bytes:
    return MARK + zstd.compress(plain, LEVEL)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=50), st.integers(1, 200), st.booleans())
def test_what_is_packed_is_unpacked(part: str, times: int, marked: bool) -> None:  # noqa: FBT001 - hypothesis gives it
    text = MARK.decode() * marked + part * times
    kept, size = pack(text)
    assert size == len(text.encode())
    assert unpack(kept, size) == text.encode()
    assert len(kept) <= size or marked, "only what would be taken for compressed may be longer"


@given(st.binary(max_size=4000))
def test_what_does_not_get_shorter_stays_as_it_is(noise: bytes) -> None:
    text = json.dumps(noise.hex())
    kept, size = pack(text)
    assert len(kept) <= size
    assert size > LONG or kept == text.encode()


@pytest.mark.parametrize("size", [8192, 16384])
def test_english_takes_half_of_its_bytes(size: int) -> None:
    """From some 4 KB on; of 1 KB it is 56 %."""
    text = json.dumps({"text": ENGLISH[:size]})
    assert len(pack(text).kept) <= len(text) / 2


def test_short_texts_are_not_compressed() -> None:
    text = "a" * (LONG - 1)
    assert pack(text).kept == text.encode()
    assert pack(text * 2, compress=False).kept == (text * 2).encode()
    assert len(pack(text + "a").kept) < LONG / 10


WHOLE = frame(b"a" * 5000)
SPOILT = {
    "a mark alone": (MARK, 5000),
    "no frame": (MARK + b"{}", 2),
    "cut off": (WHOLE[:-1], 5000),
    "a head alone": (WHOLE[:8], 5000),
    "spoilt inside": (WHOLE[:-4] + b"\xff\xff\xff\xff", 5000),
    "more behind it": (WHOLE + b"x", 5000),
    "a second frame": (WHOLE + WHOLE[1:], 5000),
    "shorter than it says": (WHOLE, 6000),
    "longer than it says": (WHOLE, 4000),
    "of no length": (WHOLE, 0),
    "a bomb": (frame(bytes(BOMB)), 5000),
    "of a length that nobody has": (WHOLE, 2**60),
}


@pytest.mark.parametrize("name", SPOILT)
def test_what_is_spoilt_is_refused_and_takes_no_memory(name: str) -> None:
    kept, size = SPOILT[name]
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"text|frame"):
            unpack(kept, size)
        assert tracemalloc.get_traced_memory()[1] < BOMB / 20
    finally:
        tracemalloc.stop()


def test_a_bomb_whose_head_lies_makes_no_more_than_the_head_says() -> None:
    honest = zstd.compress(bytes(BOMB), LEVEL)
    assert zstd.get_frame_info(honest).decompressed_size == BOMB
    # The head of a frame of 5,000 bytes, before the blocks of one of 100 MB.
    lying = zstd.compress(bytes(5000), LEVEL)[:7] + honest[9:]
    with pytest.raises(ValueError, match=r"text|frame"):
        unpack(MARK + lying, 5000)
