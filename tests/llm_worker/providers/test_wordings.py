"""Errors in the forms and words of other servers than OpenAI."""

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web

from tandem.shared.errors import JobError
from tandem.shared.tasks.catalog.llm import Message
from tests.support.llm_attempts import SECRET, MakeContext
from tests.support.servers.provider_stub import Pieces, Reply, Stub, chunk

ASK = [Message(role="user", content="The quick brown fox jumps over the lazy dog while nobody watches.")]


async def failure(make: MakeContext, stub: Stub, reply: Reply, **options: Any) -> JobError:
    stub.script(reply)
    with pytest.raises(JobError) as caught:
        await make(stub.url).provider.chat(ASK, **options)
    assert len(stub.bodies) == 1
    assert SECRET not in caught.value.message
    assert "lazy dog" not in caught.value.message
    return caught.value


def answer(status: int, body: Any, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response(body, status=status, headers=headers)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([{"error": {"code": 400, "message": "top_p is odd", "status": "INVALID_ARGUMENT"}}], "top_p is odd"),
        ({"error": "top_p is odd"}, "top_p is odd"),
        ({"detail": "top_p is odd"}, "top_p is odd"),
        ({"detail": [{"loc": ["body", "top_p"], "msg": "is odd", "input": "secret"}]}, "body.top_p: is odd"),
        ({"message": {"detail": [{"loc": ["body", "top_p"], "msg": "is odd"}]}}, "body.top_p: is odd"),
        ({"object": "error", "message": "top_p is odd", "type": "BadRequestError"}, "top_p is odd"),
        ({"message": "top_p is odd"}, "top_p is odd"),
        ({"error": {"error": {"message": "top_p is odd"}}}, "top_p is odd"),
        ({"errors": [{"message": "top_p is odd"}]}, "top_p is odd"),
        ("top_p is odd", "top_p is odd"),
    ],
)
async def test_the_message_is_shown_whatever_its_form(stub: Stub, make: MakeContext, body: Any, message: str) -> None:
    error = await failure(make, stub, answer(400, body))
    assert (error.type, error.message.endswith(f": {message}")) == ("bad_request", True), error.message
    assert "secret" not in error.message


async def test_a_plain_text_is_a_message_and_a_page_is_none(stub: Stub, make: MakeContext) -> None:
    text = web.Response(text="no healthy upstream", status=503, content_type="text/plain")
    assert (await failure(make, stub, text)).message.endswith(": no healthy upstream")
    stub.bodies.clear()
    page = web.Response(text="<html>Bad gateway</html>", status=502, content_type="text/html")
    assert (await failure(make, stub, page)).message == "the provider answered HTTP 502"


@pytest.mark.parametrize("body", [[], [[]], 3, None, {}, {"error": 3}, {"error": []}, {"error": [3]}, {"detail": [3]}])
async def test_a_body_that_says_nothing(stub: Stub, make: MakeContext, body: Any) -> None:
    assert (await failure(make, stub, answer(400, body))).type == "bad_request"


@pytest.mark.parametrize("name", ["max_completion_tokens", "stream_options"])
async def test_a_detail_names_the_parameter(stub: Stub, make: MakeContext, name: str) -> None:
    def reply(asked: dict[str, Any]) -> web.Response:
        detail = [{"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs are not permitted"}]
        return answer(422, {"detail": detail}) if name in asked else answer(200, json.loads(GOOD))

    stub.script(reply)
    completion = await make(stub.url).provider.chat(ASK, max_output_tokens=9, stream=True)
    assert (completion.text, len(stub.bodies)) == ("Hi.", 2)


GOOD = '{"choices": [{"message": {"content": "Hi."}}]}'
CREDIT = "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade."

FINAL: list[tuple[str, int, Any]] = [
    ("insufficient_quota", 400, {"type": "error", "error": {"type": "invalid_request_error", "message": CREDIT}}),
    ("insufficient_quota", 402, {"error": {"message": "Insufficient Balance", "type": "unknown_error"}}),
    (
        "insufficient_quota",
        403,
        {
            "code": "The caller does not have permission to execute the specified operation",
            "error": "Your newly created teams doesn't have any credits yet. You can purchase credits on the console.",
        },
    ),
    (
        "insufficient_quota",
        429,
        {
            "code": "Some resource has been exhausted",
            "error": "Your team has either used all available credits or reached its monthly spending limit.",
        },
    ),
    (
        "insufficient_quota",
        429,
        {"error": {"message": "Your account is suspended, please check.", "type": "exceeded_current_quota_error"}},
    ),
    (
        "insufficient_quota",
        400,
        {
            "error": {
                "code": "Arrearage",
                "message": "Access denied, please make sure your account is in good standing.",
            }
        },
    ),
    ("insufficient_quota", 403, {"code": 30001, "message": "Sorry, your account balance is insufficient"}),
    ("insufficient_quota", 429, {"error": {"code": "1113", "message": "余额不足或无可用资源包,请充值"}}),
    (
        "content_filtered",
        403,
        {
            "error": {
                "code": 403,
                "message": "Your chosen model requires moderation and your input was flagged.",
                "metadata": {"reasons": ["violence"], "flagged_input": "...", "provider_name": "OpenAI"},
            }
        },
    ),
    ("content_filtered", 403, {"error": {"code": 403, "message": "No.", "metadata": {"reasons": ["violence"]}}}),
    (
        "content_filtered",
        400,
        {
            "error": {
                "code": "data_inspection_failed",
                "message": "<400> DataInspectionFailed: Input data may contain inappropriate content.",
            }
        },
    ),
    ("content_filtered", 400, {"error": {"message": "Content Exists Risk", "type": "invalid_request_error"}}),
    (
        "content_filtered",
        403,
        {"code": "The caller does not have permission", "error": "Content violates usage guidelines. Failed check: X"},
    ),
    ("content_filtered", 400, {"error": {"message": "No.", "innererror": {"content_filter_result": {}}}}),
    ("content_filtered", 400, {"error": {"code": "1301", "message": "系统检测到输入内容可能包含不安全或敏感内容"}}),
    ("invalid_credentials", 403, {"type": "error", "error": {"type": "permission_error", "message": "No access."}}),
    ("unknown_model", 404, {"detail": "Not Found"}),
]


@pytest.mark.parametrize(("kind", "status", "body"), FINAL)
async def test_what_no_repeat_mends(stub: Stub, make: MakeContext, kind: str, status: int, body: Any) -> None:
    error = await failure(make, stub, answer(status, body))
    assert (error.type, error.retryable) == (kind, False)


OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}


IN_200: list[tuple[dict[str, Any], str]] = [
    (OVERLOADED, "provider_unavailable"),
    ({"error": "Overloaded"}, "provider_unavailable"),
    ({"error": {"message": "Slow down.", "type": "rate_limit_error"}}, "rate_limited"),
    ({"error": {"message": "Slow down.", "status": "RESOURCE_EXHAUSTED"}}, "rate_limited"),
    ({"error": {"message": "You exceeded your quota.", "code": "insufficient_quota"}}, "insufficient_quota"),
    ({"error": {"message": "No.", "type": "invalid_request_error"}}, "bad_request"),
    ({"error": {"message": "prompt is too long", "type": "invalid_request_error"}}, "context_too_long"),
    ({"error": {"message": "No.", "code": "429"}}, "rate_limited"),
]
INSTEAD: list[tuple[dict[str, Any], str]] = [
    *IN_200,
    ({"object": "error", "message": "Internal", "code": 500}, "provider_unavailable"),
    ({"detail": "Internal"}, "provider_unavailable"),
]


@pytest.mark.parametrize(("body", "kind"), INSTEAD)
async def test_an_error_instead_of_an_answer(stub: Stub, make: MakeContext, body: Any, kind: str) -> None:
    assert (await failure(make, stub, answer(200, body))).type == kind


@pytest.mark.parametrize(("body", "kind"), IN_200)
async def test_an_error_beside_half_an_answer(stub: Stub, make: MakeContext, body: Any, kind: str) -> None:
    half = {"choices": [{"message": {"content": "Half an "}, "finish_reason": "stop"}]}
    assert (await failure(make, stub, answer(200, body | half))).type == kind
    stub.bodies.clear()
    half["choices"][0]["error"] = body["error"]
    assert (await failure(make, stub, answer(200, half))).type == kind


@pytest.mark.parametrize(("body", "kind"), INSTEAD)
async def test_an_error_in_a_stream(stub: Stub, make: MakeContext, body: Any, kind: str) -> None:
    event = f"event: error\ndata: {json.dumps(body)}\n\n"
    reply = Pieces(chunk("Half an "), event, chunk(finish="stop"), "data: [DONE]\n\n")
    assert (await failure(make, stub, reply, stream=True)).type == kind


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6s"}, {}, 6),
        ({"x-ratelimit-reset-requests": "1m6.5s", "x-ratelimit-reset-tokens": "20ms"}, {}, 66.5),
        (
            {
                "x-ratelimit-remaining-requests": "14000",
                "x-ratelimit-reset-requests": "2h3m",
                "x-ratelimit-remaining-tokens": "12",
                "x-ratelimit-reset-tokens": "7.66s",
            },
            {},
            7.66,
        ),
        ({"x-ratelimit-reset": "6"}, {}, 6),
        ({"retry-after": "2", "x-ratelimit-reset-requests": "6s"}, {}, 2),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1e300"}, {}, None),
        ({"x-ratelimit-reset-requests": "999999999h"}, {}, 86_400),
        ({"x-ratelimit-reset-requests": "soon"}, {}, None),
        ({"x-ratelimit-reset-requests": "999999999h" * 40}, {}, 86_400),
        ({}, {"message": f"Try again in {'999999999h' * 40}."}, 86_400),
        ({}, {"message": "Try again in 500 milliseconds."}, None),
        ({"retry-after": "1h30m"}, {}, 5400),
        ({"retry-after": "-5"}, {}, None),
        ({"retry-after": "nan"}, {}, None),
        ({"retry-after": "1e999"}, {}, 86_400),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, {}, 0),
        ({"retry-after": f"{'1' * 30} Jan 2026 00:00:00 GMT"}, {}, None),
        ({}, {"details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "6s"}]}, 6),
        ({}, {"details": [{"retryDelay": 6}, 3, {"retryDelay": "-6s"}]}, None),
        ({}, {"message": "Rate limit reached. Please try again in 6.5s. Visit the console."}, 6.5),
        ({}, {"message": "Please retry in 1m2s."}, 62),
        ({}, {"message": "Please retry later."}, None),
    ],
)
async def test_when_to_come_back(
    stub: Stub, make: MakeContext, headers: dict[str, str], body: dict[str, Any], seconds: float | None
) -> None:
    said = {"message": "You exceeded your current quota.", "code": 429, "status": "RESOURCE_EXHAUSTED"} | body
    error = await failure(make, stub, answer(429, [{"error": said}], headers))
    wait = None if seconds is None else timedelta(seconds=seconds)
    assert (error.type, error.retry_after) == ("rate_limited", wait)


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("x-ratelimit-reset", lambda moment: str(int(moment * 1000))),
        ("x-ratelimit-reset-requests", lambda moment: str(int(moment))),
        ("anthropic-ratelimit-requests-reset", lambda moment: datetime.fromtimestamp(moment, UTC).isoformat()),
        ("retry-after", lambda moment: datetime.fromtimestamp(moment, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")),
    ],
)
async def test_a_moment_to_come_back(stub: Stub, make: MakeContext, name: str, form: Any) -> None:
    error = await failure(make, stub, answer(429, {}, {name: form(time.time() + 3600)}))
    assert error.retry_after is not None
    assert timedelta(minutes=50) < error.retry_after <= timedelta(hours=1)
