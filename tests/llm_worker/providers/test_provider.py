"""What the provider does right: the request it sends, what it counts, what it remembers."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from tandem.llm_worker.providers.capabilities import MOST_MODELS, Capabilities, CapabilityMemory
from tandem.llm_worker.providers.registry import endpoints
from tandem.shared.config.settings import Settings, SettingsError, load
from tandem.shared.errors import FinalError, JobError
from tandem.shared.jobs.model import Usage
from tandem.shared.tasks.catalog.llm import Message
from tests.support.llm_attempts import KEY, SECRET, MakeContext
from tests.support.servers.llmock import LlMock
from tests.support.servers.provider_stub import Stub, refused, said

HELLO = [Message(role="user", content="Hello there")]


def unknown(name: str) -> web.Response:
    return refused(400, message=f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")


async def test_asks_with_the_defaults_of_the_settings(mock: LlMock, make: MakeContext) -> None:
    mock.reply("Hi.")
    ctx = make(mock.url, model="some-model")
    answer = await ctx.provider.chat(HELLO)
    assert (answer.text, answer.model, answer.finish_reason) == ("Hi.", "some-model", "stop")
    assert mock.bodies == [{"model": "some-model", "messages": [{"role": "user", "content": "Hello there"}]}]
    assert ctx.usage == Usage(input_tokens=2, output_tokens=1, requests=1)


async def test_sends_what_it_is_given(mock: LlMock, make: MakeContext) -> None:
    ctx = make(mock.url)
    await ctx.provider.chat(HELLO, model="m", temperature=0.5, max_output_tokens=9)
    body = mock.bodies[0]
    assert (body["model"], body["temperature"], body["max_completion_tokens"]) == ("m", 0.5, 9)


async def test_usage_null_counts_the_request(stub: Stub, make: MakeContext) -> None:
    stub.script(said("Hi.", usage=None))
    ctx = make(stub.url)
    await ctx.provider.chat(HELLO)
    assert ctx.usage == Usage(requests=1)


@pytest.mark.parametrize(
    "refusal",
    [
        unknown("max_completion_tokens"),
        refused(400, message="body.max_completion_tokens: extra inputs are not permitted"),
        web.json_response(
            {"detail": [{"type": "extra_forbidden", "loc": ["body", "max_completion_tokens"]}]}, status=422
        ),
    ],
)
async def test_an_older_server_gets_max_tokens_and_is_remembered(
    stub: Stub, make: MakeContext, refusal: web.Response
) -> None:
    stub.script(refusal, said("Hi."))
    ctx = make(stub.url)
    for _ in range(2):
        await ctx.provider.chat(HELLO, max_output_tokens=7)
    assert [("max_completion_tokens" in body, body.get("max_tokens")) for body in stub.bodies] == [
        (True, None),
        (False, 7),
        (False, 7),
    ]
    assert ctx.usage.requests == 3


async def test_a_refused_value_of_the_limit_is_not_taken_for_an_older_server(stub: Stub, make: MakeContext) -> None:
    too_large = refused(400, message="max_completion_tokens is too large", param="max_completion_tokens")
    stub.script(too_large, unknown("max_tokens"), said("Hi."))
    ctx = make(stub.url)
    with pytest.raises(FinalError, match="is too large") as caught:
        await ctx.provider.chat(HELLO, max_output_tokens=10**6)
    assert caught.value.type == "bad_request"
    await ctx.provider.chat(HELLO, max_output_tokens=7)
    assert stub.bodies[-1]["max_completion_tokens"] == 7


async def test_models_of_one_provider_differ(stub: Stub, make: MakeContext) -> None:
    def reply(body: dict[str, Any]) -> web.Response:
        lacks = {"old": "max_completion_tokens", "new": "max_tokens"}[body["model"]]
        return unknown(lacks) if lacks in body else said("Hi.")

    stub.script(reply)
    ctx = make(stub.url)
    for model in ("old", "new", "old", "new"):
        await ctx.provider.chat(HELLO, model=model, max_output_tokens=7)
    names = [(body["model"], "max_tokens" in body) for body in stub.bodies]
    assert names == [("old", False), ("old", True), ("new", False), ("old", True), ("new", False)]


async def test_a_server_that_was_renewed_is_asked_anew(stub: Stub, make: MakeContext) -> None:
    stub.script(unknown("max_completion_tokens"), said("Hi."), unknown("max_tokens"), said("Hi."))
    ctx = make(stub.url)
    for _ in range(3):
        await ctx.provider.chat(HELLO, max_output_tokens=7)
    assert ["max_tokens" in body for body in stub.bodies] == [False, True, True, False, False]


async def test_a_server_that_knows_little_is_asked_until_it_understands(stub: Stub, make: MakeContext) -> None:
    def reply(body: dict[str, Any]) -> web.Response:
        known = {"model", "messages", "max_tokens"}
        return next((unknown(name) for name in sorted(set(body) - known)), said("Hi."))

    stub.script(reply)
    ctx = make(stub.url)
    for _ in range(2):
        assert (await ctx.provider.chat(HELLO, max_output_tokens=7, stream=True)).text == "Hi."
    assert [set(body) - {"model", "messages"} for body in stub.bodies] == [
        {"max_completion_tokens", "stream", "stream_options"},
        {"max_tokens", "stream", "stream_options"},
        {"max_tokens"},
        {"max_tokens"},
    ]
    assert ctx.usage.requests == 4


async def test_a_server_that_refuses_all_it_is_sent_ends_it(stub: Stub, make: MakeContext) -> None:
    def reply(body: dict[str, Any]) -> web.Response:
        order = ("stream_options", "stream", "max_completion_tokens", "max_tokens")
        return next(unknown(name) for name in order if name in body)

    stub.script(reply)
    with pytest.raises(FinalError, match="max_completion_tokens"):
        await make(stub.url).provider.chat(HELLO, max_output_tokens=7, stream=True)
    assert len(stub.bodies) == 4


def test_capabilities_of_the_last_models_are_remembered() -> None:
    memory = CapabilityMemory()
    less = Capabilities(streaming=False)
    for n in range(MOST_MODELS + 1):
        memory.remember(str(n), less)
    assert [memory.of(str(n)) for n in (0, 1, MOST_MODELS)] == [Capabilities(), less, less]


async def test_a_query_of_the_address_goes_with_every_request(stub: Stub, make: MakeContext) -> None:
    stub.script(said("Hi."))
    ctx = make(f"{stub.url}?api-version=2026-01-01&empty=")
    await ctx.provider.chat(HELLO)
    assert stub.paths == [urlsplit(stub.url).path + "/chat/completions"]
    assert stub.queries == ["api-version=2026-01-01&empty="]


def test_the_local_stand_in_is_named_as_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "llm.url").write_text("http://127.0.0.1:1/v1\n")
    [endpoint] = endpoints(Settings(_env_file=None, run_dir=tmp_path))
    assert endpoint.name == "stand-in"


async def test_the_name_is_openai_or_the_host(mock: LlMock, make: MakeContext) -> None:
    ctx = make(mock.url)
    await ctx.provider.chat(HELLO)
    assert ctx.asked == "127.0.0.1"
    [endpoint] = endpoints(Settings(_env_file=None, openai_api_key=KEY, openai_base_url=None))
    assert (endpoint.name, endpoint.base_url) == ("openai", "https://api.openai.com/v1")
    assert SECRET not in repr(endpoint)


@pytest.mark.parametrize("url", ["localhost:8000/v1", "ftp://host/v1", "http://", "http://[::1/v1"])
async def test_an_unusable_base_url_fails_at_start(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    with pytest.raises(SettingsError, match="OPENAI_BASE_URL"):
        endpoints(load())


async def test_an_unusable_key_fails_at_start_unseen() -> None:
    with pytest.raises(SettingsError, match="OPENAI_API_KEY") as caught:
        endpoints(Settings(_env_file=None, openai_api_key="sk-schlüssel\n", run_dir="."))
    assert "schl" not in str(caught.value)


async def test_every_request_is_counted_also_a_failed_one(stub: Stub, make: MakeContext) -> None:
    stub.script(refused(500), said(None, usage={"prompt_tokens": 3, "completion_tokens": 1}), said("Hi."))
    ctx = make(stub.url)
    for _ in range(2):
        with pytest.raises(JobError):
            await ctx.provider.chat(HELLO)
    await ctx.provider.chat(HELLO)
    assert ctx.usage == Usage(input_tokens=3, output_tokens=1, requests=3)


async def test_what_the_environment_says_of_openai_is_told_nobody_else(
    stub: Stub, make: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-canary")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-canary")
    stub.script(said("Hi."))
    await make(stub.url).provider.chat(HELLO)
    assert "canary" not in str(dict(stub.headers[0]))
