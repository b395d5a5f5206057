"""Which lane a job waits in, and what its first request is said to need."""

import json
from typing import Any

import pytest

from tandem.llm_worker.rate_limit.estimate import need_of
from tandem.llm_worker.rate_limit.gate import Reservation
from tandem.llm_worker.rate_limit.tickets import Tickets
from tandem.shared.limits.lanes import Lanes
from tandem.shared.tasks.registry import load
from tandem.shared.tasks.spec import Queue

CATALOG = load()
LANES = Lanes("big", "vectors", frozenset({"big", "vectors"}))
CHAT = {"messages": [{"role": "user", "content": "x" * 3000}]}


def lane(task: str, payload: dict[str, Any]) -> list[str]:
    spec = CATALOG[task]
    text = LANES.of_job(spec, spec.input.model_validate(payload))
    assert text is not None
    return text.split(" ", 2)


@pytest.mark.parametrize(
    ("task", "payload", "model", "tokens"),
    [
        ("chat", CHAT, "big", 1260),
        ("chat", CHAT | {"model": "my own one"}, "my own one", 1260),
        ("chat", CHAT | {"max_output_tokens": 500}, "big", 1504),
        ("embed", {"texts": ["x" * 300, "y" * 300]}, "vectors", 208),
        ("embed", {"texts": ["x"] * 2000, "model": "m"}, "m", 512 * 5),
        ("summarize", {"text": "x" * 600_000}, "big", 20_368),
    ],
)
def test_a_job_waits_by_the_model_that_it_names(task: str, payload: dict[str, Any], model: str, tokens: int) -> None:
    said, _, name = lane(task, payload)
    assert (name, int(said)) == (model, tokens)


def test_every_task_of_the_pool_foretells_what_it_needs() -> None:
    for spec in CATALOG.of(Queue.LLM):
        assert LANES.of_job(spec, spec.input.model_validate(spec.example)), spec.name
    for spec in CATALOG.of(Queue.SYNC):
        assert LANES.of_job(spec, spec.input.model_validate(spec.example)) is None


def test_an_input_that_is_wrong_has_no_lane() -> None:
    assert LANES.of_text(CATALOG["chat"], json.dumps(CHAT)) == " ".join(lane("chat", CHAT))
    for wrong in ("{}", "[", '{"messages": 1}'):
        assert LANES.of_text(CATALOG["chat"], wrong) is None


@pytest.mark.parametrize("cap", [None, 100, 500])
def test_the_forecast_of_a_chat_is_what_its_request_reserves(cap: int | None) -> None:
    tokens, sort, _ = lane("chat", CHAT | ({"max_output_tokens": cap} if cap else {}))
    reservation = Reservation(
        job_id="1",
        tickets=Tickets(run="1:1"),
        provider="p",
        model="big",
        embeds=False,
        texts=["x" * 3000],
        max_output_tokens=cap,
        begun=False,
    )
    need = need_of(reservation)
    assert (need.tokens, need.sort) == (int(tokens), sort)
