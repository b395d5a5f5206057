"""What a handler may say of its progress."""

from typing import Any

import pytest

from tandem.shared.jobs.events import Kind
from tandem.shared.jobs.progress import MOST_TEXT, entry


@pytest.mark.parametrize(
    ("done", "total"),
    [(-1, 2), (3, 2), (float("nan"), 2), (float("inf"), None), (1, float("nan")), ("1", 2), (True, 2), (1, -1)],
)
def test_a_wrong_number_is_refused(done: Any, total: Any) -> None:
    with pytest.raises(ValueError, match="progress"):
        entry(done, total, None)


def test_a_message_is_short_and_can_be_stored() -> None:
    kind, data = entry(0, None, "\ud800" + "x" * 1000)
    assert kind is Kind.PROGRESS
    assert data["message"] == "?" + "x" * (MOST_TEXT - 1)
    assert (data["done"], data["total"]) == (0, None)
