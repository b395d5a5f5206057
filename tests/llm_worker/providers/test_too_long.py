"""A request that is too long, in the words of each server: less is sent."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from tandem.llm_worker.handlers.embed import embed
from tandem.llm_worker.handlers.summarize import summarize
from tandem.shared.tasks.catalog.llm import EmbedInput, EmbedOutput, SummarizeInput, SummarizeOutput
from tests.support.llm_attempts import LONG, MakeContext, run
from tests.support.servers.provider_stub import Stub, said, text_of

# The server, its status, its body.
TOO_LONG: list[tuple[str, int, Any]] = [
    (
        "llama.cpp",
        400,
        {
            "error": {
                "code": 400,
                "message": "request (4390 tokens) exceeds the available context size (4096 tokens), try increasing it",
                "type": "exceed_context_size_error",
                "n_prompt_tokens": 4390,
                "n_ctx": 4096,
            }
        },
    ),
    ("llama.cpp", 400, {"error": {"code": 400, "message": "No.", "type": "exceed_context_size_error"}}),
    (
        "llama.cpp",
        500,
        {"error": {"code": 500, "message": "Context size has been exceeded.", "type": "server_error"}},
    ),
    (
        "llama-cpp-python",
        500,
        {
            "error": {
                "message": "Requested tokens (2285) exceed context window of 2048",
                "type": "internal_server_error",
            }
        },
    ),
    (
        "SGLang",
        400,
        {
            "object": "error",
            "message": "The input (5120 tokens) is longer than the model's context length (4096 tokens).",
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        },
    ),
    (
        "Gemini",
        400,
        [
            {
                "error": {
                    "code": 400,
                    "message": "The input token count (125000) exceeds the maximum number of tokens allowed (32768).",
                    "status": "INVALID_ARGUMENT",
                }
            }
        ],
    ),
    (
        "xAI",
        400,
        {
            "code": "Client specified an invalid argument",
            "error": "This model's maximum prompt length is 131072 but the request contains 136973 tokens.",
        },
    ),
    (
        "LM Studio",
        400,
        {
            "error": "Trying to keep the first 15857 tokens when context the overflows. However, the model is loaded"
            " with context length of only 4096 tokens, which is not enough. Try to load the model with a larger context"
            " length, or provide a shorter input"
        },
    ),
    (
        "TGI",
        422,
        {
            "error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs`"
            " tokens and 100 `max_new_tokens`",
            "error_type": "validation",
        },
    ),
    (
        "Cohere",
        400,
        {"message": "too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 5012."},
    ),
    (
        "Moonshot",
        400,
        {
            "error": {
                "message": "Invalid request: Your request exceeded model token limit: 8192 (requested: 9013)",
                "type": "invalid_request_error",
            }
        },
    ),
    (
        "DashScope",
        400,
        {
            "error": {
                "code": "invalid_parameter_error",
                "param": None,
                "message": "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 30720]",
                "type": "invalid_request_error",
            }
        },
    ),
    (
        "Mistral",
        400,
        {
            "object": "error",
            "message": "Prompt contains 40012 tokens and 0 draft tokens, too large for model with 32768 maximum context"
            " length",
            "type": "invalid_request_error",
            "code": "3051",
        },
    ),
    (
        "Anthropic",
        400,
        {
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "message": "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000",
            },
        },
    ),
    (
        "Groq",
        429,
        {
            "error": {
                "message": "Request too large for gpt-4 in organization org-1 on tokens per min (TPM): Limit 10000,"
                " Requested 12012.",
                "type": "tokens",
                "code": "rate_limit_exceeded",
            }
        },
    ),
    ("FastAPI", 400, {"detail": "This model's maximum context length is 2048 tokens."}),
]


@pytest.mark.parametrize(("server", "status", "body"), TOO_LONG)
async def test_a_summary_is_split(stub: Stub, make: MakeContext, server: str, status: int, body: Any) -> None:  # noqa: ARG001 - names the case
    def reply(asked: dict[str, Any]) -> web.Response:
        if len(text_of(asked)) > 3000:
            return web.json_response(body, status=status)
        return said("short.")

    stub.script(reply)
    ctx = make(stub.url)
    assert (await run(summarize, ctx, SummarizeInput(text=LONG), SummarizeOutput)).summary == "short."
    assert 3 <= ctx.usage.requests < 20


TOO_MANY: list[tuple[str, int, Any]] = [
    (
        "DashScope",
        400,
        {
            "error": {
                "message": "<400> InternalError.Algo.InvalidParameter: Value error, batch size is invalid, it should"
                " not be larger than 10.: input.contents",
                "type": "InvalidParameter",
                "param": None,
                "code": "InvalidParameter",
            }
        },
    ),
    (
        "Gemini",
        400,
        [
            {
                "error": {
                    "code": 400,
                    "message": "* BatchEmbedContentsRequest.requests: at most 100 requests can be in one batch\n",
                    "status": "INVALID_ARGUMENT",
                }
            }
        ],
    ),
    ("TEI", 422, {"error": "batch size 512 > maximum allowed batch size 32", "error_type": "Validation"}),
    ("Cohere", 400, {"message": "invalid request: total number of texts must be at most 96 - received 512"}),
    (
        "Mistral",
        400,
        {"object": "error", "message": "Too many inputs in request, split into more batches.", "code": "3210"},
    ),
    (
        "llama.cpp",
        500,
        {
            "error": {
                "code": 500,
                "message": "input (979 tokens) is too large to process. increase the physical batch size (current batch"
                " size: 512)",
                "type": "server_error",
            }
        },
    ),
]


def numbers(most: int, refusal: Callable[[], web.Response]) -> Callable[[dict[str, Any]], web.Response]:
    """Embed each text, a number, as that number; refuse more than `most` at once."""

    def reply(asked: dict[str, Any]) -> web.Response:
        if len(asked["input"]) > most:
            return refusal()
        data = [{"index": n, "embedding": [float(text), 1.0]} for n, text in enumerate(asked["input"])]
        return web.json_response({"data": data})

    return reply


@pytest.mark.parametrize(("server", "status", "body"), TOO_MANY)
async def test_a_batch_is_halved(stub: Stub, make: MakeContext, server: str, status: int, body: Any) -> None:  # noqa: ARG001
    stub.script(numbers(10, lambda: web.Response(text=json.dumps(body), status=status)))
    ctx = make(stub.url)
    output = await run(embed, ctx, EmbedInput(texts=[str(n) for n in range(600)]), EmbedOutput)
    assert [vector[0] for vector in output.embeddings] == list(range(600))
    refused = sum(len(body["input"]) > 10 for body in stub.bodies)
    assert refused <= 40, "what the provider refused once is not sent to it again and again"
