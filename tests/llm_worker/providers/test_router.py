"""Which provider answers: by the config file, and by fallbacks when the model itself is not to be had."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from tandem.llm_worker.generation.structured import chat_json
from tandem.llm_worker.providers.errors import BadRequest
from tandem.llm_worker.providers.registry import endpoints
from tandem.llm_worker.providers.router import verdict
from tandem.llm_worker.rate_limit.gate import OpenGate
from tandem.shared.config.file import Config, ModelConfig
from tandem.shared.config.settings import Settings, SettingsError
from tandem.shared.errors import FinalError, JobError, Snooze, TransientError
from tandem.shared.tasks.catalog.llm import Message
from tests.support.llm_attempts import SECRET, MakeContext
from tests.support.servers.provider_stub import Stub, raw, refused, said, serve_stub

HELLO = [Message(role="user", content="Hello there")]
AFTER = timedelta(seconds=30)


class Parked(OpenGate):
    """Has news of parked models."""

    def __init__(self, **parked: float) -> None:
        self._parked = parked

    def parked(self, provider: str, model: str) -> timedelta:
        return timedelta(seconds=self._parked.get(f"{provider}_{model}", 0))


@pytest_asyncio.fixture
async def pair() -> AsyncIterator[tuple[Stub, Stub]]:
    async with AsyncExitStack() as stack:
        first, second = [await stack.enter_async_context(serve_stub()) for _ in range(2)]
        first.script(said("from the first"))
        second.script(said("from the second"))
        yield first, second


@pytest.fixture
def config(pair: tuple[Stub, Stub], monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv("FIRST_KEY", SECRET)
    models = {
        "big": {"provider": "first", "name": "big-2026", "fallbacks": ["small"], "context_window": 4096},
        "small": {"provider": "second"},
    }
    providers = {
        "first": {"base_url": pair[0].url, "api_key_env": "FIRST_KEY"},
        "second": {"base_url": pair[1].url},
    }
    return Config.model_validate({"providers": providers, "models": models})


async def test_a_model_goes_to_its_provider_by_its_name_there(
    make: MakeContext, pair: tuple[Stub, Stub], config: Config
) -> None:
    ctx = make("http://unused", config=config)
    for model, text, provider in (("big", "first", "first"), ("small", "second", "second"), ("odd", "first", "first")):
        answer = await ctx.provider.chat(HELLO, model=model)
        assert (answer.text, answer.model, ctx.asked) == (f"from the {text}", "stub-1", provider)
    assert [body["model"] for body in pair[0].bodies] == ["big-2026", "odd"]
    assert [headers["Authorization"] for headers in (pair[0].headers[0], pair[1].headers[0])] == [
        f"Bearer {SECRET}",
        "Bearer none",
    ]
    assert (ctx.provider.context_window("big"), ctx.provider.context_window()) == (4096, 128_000)


@pytest.mark.parametrize(
    ("reply", "loud"),
    [
        (refused(500), False),
        (refused(401), True),
        (refused(404), True),
        (refused(429, code="insufficient_quota"), True),
        (refused(429, {"retry-after": "31"}), False),
        (None, False),
    ],
    ids=["500", "401", "404", "quota", "long wait", "stall"],
)
async def test_a_fallback_answers(
    make: MakeContext,
    pair: tuple[Stub, Stub],
    config: Config,
    reply: web.Response | None,
    caplog: pytest.LogCaptureFixture,
    *,
    loud: bool,
) -> None:
    pair[0].script(reply)
    patience = timedelta(seconds=60 if reply else 0.5)
    ctx = make("http://unused", config=config, llm_timeout=patience)
    assert (await ctx.provider.chat(HELLO, model="big")).text == "from the second"
    assert (ctx.asked, ctx.usage.requests, pair[1].bodies[0]["model"]) == ("second", 2, "small")
    assert (len(pair[0].bodies), len(pair[1].bodies)) == (1, 1)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == loud
    assert all(message.startswith("first: ") and SECRET not in message for message in warnings)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (refused(400, message="odd"), "bad_request"),
        (refused(400, code="context_length_exceeded"), "context_too_long"),
        (refused(400, code="content_filter"), "content_filtered"),
        (refused(429, {"retry-after": "29"}), "rate_limited"),
        (raw("{oops"), "provider_garbage"),
    ],
)
async def test_no_fallback_is_asked(
    make: MakeContext, pair: tuple[Stub, Stub], config: Config, reply: web.Response, kind: str
) -> None:
    pair[0].script(reply)
    with pytest.raises(JobError) as caught:
        await make("http://unused", config=config).provider.chat(HELLO, model="big")
    assert caught.value.type == kind
    assert pair[1].bodies == []


async def test_without_a_fallback_the_error_is_raised_and_said_once(
    make: MakeContext, pair: tuple[Stub, Stub], config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    pair[1].script(refused(500))
    with caplog.at_level("INFO"), pytest.raises(TransientError, match="HTTP 500"):
        await make("http://unused", config=config).provider.chat(HELLO, model="small")
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("tandem")]
    assert [line for line in ours if " answered " not in line] == []


async def test_a_parked_model_is_not_asked(make: MakeContext, pair: tuple[Stub, Stub], config: Config) -> None:
    ctx = make("http://unused", gate=Parked(first_big=31), config=config)
    assert (await ctx.provider.chat(HELLO, model="big")).text == "from the second"
    ctx = make("http://unused", gate=Parked(first_big=29), config=config)
    assert (await ctx.provider.chat(HELLO, model="big")).text == "from the first"
    ctx = make("http://unused", gate=Parked(first_big=60, second_small=50), config=config)
    assert (await ctx.provider.chat(HELLO, model="big")).text == "from the second"  # whose gate decides
    pair[1].script(refused(400, message="odd"))
    with pytest.raises(Snooze) as caught:
        await make("http://unused", gate=Parked(first_big=31), config=config).provider.chat(HELLO, model="big")
    assert caught.value.delay == timedelta(seconds=31)


async def test_a_fallback_that_takes_no_schema_is_asked_without(
    make: MakeContext, pair: tuple[Stub, Stub], config: Config
) -> None:
    pair[0].script(refused(500))
    pair[1].script(refused(400, param="response_format", message="Unknown parameter."), said('{"a": 1}'))
    ctx = make("http://unused", config=config, model="big")
    assert await chat_json(ctx, HELLO, schema={"type": "object"}, check=lambda value: value) == {"a": 1}
    assert [len(stub.bodies) for stub in pair] == [2, 2]


# --- one error of several

DOWN = TransientError("down", type="provider_unavailable")
POOR = FinalError("no money", type="insufficient_quota")
ODD = BadRequest("odd")


@pytest.mark.parametrize(
    ("errors", "kind"),
    [
        ([POOR, ODD], "insufficient_quota"),
        ([POOR, DOWN], "provider_unavailable"),
        ([DOWN, ODD], "provider_unavailable"),
        ([DOWN, Snooze(timedelta(hours=1))], "provider_unavailable"),
        ([POOR, Snooze(timedelta(hours=1))], timedelta(hours=1)),
        ([Snooze(timedelta(hours=1)), ODD], timedelta(hours=1)),
        ([Snooze(timedelta(hours=1)), DOWN], AFTER),
        ([Snooze(timedelta(hours=1)), POOR, Snooze(timedelta(minutes=2))], timedelta(minutes=2)),
    ],
)
def test_the_verdict_keeps_most_hope(errors: list[JobError | Snooze], kind: str | timedelta) -> None:
    error = verdict(errors, AFTER)
    assert (error.delay if isinstance(error, Snooze) else error.type) == kind


def test_the_verdict_tells_all() -> None:
    errors = [FinalError("no money", type="insufficient_quota"), TransientError("down", type="provider_unavailable")]
    error = verdict(errors, AFTER)
    assert isinstance(error, JobError)
    assert error.message == "down; insufficient_quota: no money"


# --- what is refused at start


@pytest.mark.parametrize(
    ("provider", "said"),
    [
        ({"api_key_env": "NOT_SET"}, "providers.p.api_key_env: the environment variable NOT_SET is unset"),
        ({"api_key_env": "ODD_KEY"}, "providers.p.api_key_env: ODD_KEY: must consist of printable ASCII"),
    ],
)
def test_a_provider_whose_key_could_never_be_sent(
    monkeypatch: pytest.MonkeyPatch, provider: dict[str, Any], said: str
) -> None:
    monkeypatch.setenv("ODD_KEY", "sk-schlüssel")
    config = Config.model_validate({"providers": {"p": provider}})
    with pytest.raises(SettingsError, match=said) as caught:
        endpoints(Settings(_env_file=None, config=config))
    assert "schl" not in str(caught.value)


def test_fallbacks_wait_half_a_minute_by_default() -> None:
    assert ModelConfig().fallback_after == AFTER
