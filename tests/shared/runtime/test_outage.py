import logging
from datetime import timedelta

import pytest

from tandem.shared.errors import StoreUnavailable
from tandem.shared.runtime.outage import PAUSES, Outage

log = logging.getLogger("tandem.test")
AWAY = StoreUnavailable("away")


def test_pauses_grow_to_a_second_and_begin_anew_with_the_next_outage() -> None:
    outage = Outage(log, "waiting")
    pauses = [outage.pause(AWAY) for _ in range(20)]
    assert pauses[0] <= PAUSES.base.total_seconds()
    assert PAUSES.cap.total_seconds() / 2 <= min(pauses[10:]) <= max(pauses) <= PAUSES.cap.total_seconds()
    outage.over()
    assert outage.pause(AWAY) <= PAUSES.base.total_seconds()


def test_an_outage_is_one_line_and_its_end_another(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    outage = Outage(log, "%s waits", "finish")
    outage.over()  # none was on
    for _ in range(5):
        outage.pause(AWAY)
    assert caplog.messages == ["finish waits: away"]
    outage.over()
    outage.over()
    assert len(caplog.messages) == 2
    assert caplog.messages[1].startswith("Redis is back after")


def test_patience_ends() -> None:
    outage = Outage(log, "waiting", patience=timedelta(0))
    with pytest.raises(StoreUnavailable, match="did not answer for 0 s: away"):
        outage.pause(AWAY)
