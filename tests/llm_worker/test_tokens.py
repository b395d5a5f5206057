from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tandem.llm_worker.tokens import cut, estimate, split

texts = st.text(st.sampled_from("ab. \n!?語。🙂é"), max_size=400) | st.text(max_size=100)
limits = st.integers(min_value=2, max_value=60)


@given(texts, limits)
def test_pieces_fit_and_join_to_the_text(text: str, limit: int) -> None:
    pieces = split(text, limit)
    assert "".join(pieces) == text
    assert all(estimate(piece) <= limit for piece in pieces)


@given(texts, limits)
def test_neighbours_would_not_fit_together(text: str, limit: int) -> None:
    pieces = split(text, limit)
    # Whole words and sentences only: a run of characters is cut by count.
    joined = [estimate(first + second) for first, second in pairwise(pieces)]
    assert all(size > limit // 2 for size in joined)


def test_the_best_boundary_is_taken() -> None:
    assert split("One two.\n\nThree four. Five six.", 5) == ["One two.\n\n", "Three four. ", "Five six."]
    assert split("One two three", 3) == ["One two ", "three"]
    assert cut("One two. Three four.", 4) == "One two."


def test_a_megabyte_is_split_whole_into_full_pieces() -> None:
    text = "word " * 200_000
    pieces = split(text, 1000)
    assert "".join(pieces) == text
    assert all(900 < estimate(piece) <= 1000 for piece in pieces[:-1])
