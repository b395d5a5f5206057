"""How servers say what is wrong: codes, and sentences where there is no code or one that says nothing. Pure.

Codes are in lower case. A sentence is of the server that is named beside it; many others have taken it over.
"""

import re


def _any(*sentences: str) -> re.Pattern[str]:
    return re.compile("|".join(sentences), re.IGNORECASE)


TOO_LONG = frozenset(
    {
        "context_length_exceeded",
        "exceed_context_size_error",  # llama.cpp
        "max_tokens_per_request",
        "request_too_large",  # Anthropic
        "string_above_max_length",
        "array_above_max_length",
        "context_window_exceeded",
        "model_context_window_exceeded",
        "tokens_limit_reached",  # GitHub Models
    }
)
TOO_LONG_WORDS = _any(
    r"maximum context length|maximum model length|max(imum)?[ _](input|prompt|sequence) length",  # OpenAI, vLLM, xAI
    r"context[ _](window|limit)|(prompt|input|request|message)s? (is|are) too (long|large)",  # Anthropic, Ollama
    r"exceeds? the (available )?context|context size has been exceeded|too large to process",  # llama.cpp
    r"(longer|larger|greater) than the (model'?s|maximum|context)[^.]*(context|length|tokens)",  # SGLang
    r"input token count[^.]*exceeds|exceeds the maximum (number of|allowed) (input )?tokens",  # Gemini
    r"context the overflows|context overflow|context length of only|larger context length",  # LM Studio
    r"`?max_new_tokens`? must be <=|must have less than \d+ tokens",  # TGI, TEI
    r"too many (input )?tokens|total number of tokens|tokens?[^.]* cannot exceed",  # Cohere, Mistral
    r"exceeded model token limit|exceeds? the model'?s? (token|length) limit",  # Moonshot
    r"range of input length should be|input length[^.]*exceeds",  # DashScope
    r"max(imum)? \d+ tokens per request|reduce the length of the (messages|prompt|input)",  # OpenAI, Groq
    r"request too large for|request payload size exceeds",  # OpenAI's and Groq's tokens a minute; Gemini
)
# A 429 that no waiting helps: OpenAI's and Groq's words, and the numbers that they and others give.
BEYOND_THE_MINUTE = _any(r"request too large for")
LIMIT = _any(r"\blimit(?: is| of)?:? ?(\d[\d,_]{0,14})")
REQUESTED = _any(r"\brequested(?: about| around)?:? ?(\d[\d,_]{0,14})")
# A list of texts to embed that is too long. The way out is the same: send less at once.
TOO_MANY_WORDS = _any(
    r"batch size[^.]*(invalid|larger|exceed|maximum|too)|(larger|greater|exceeds)[^.]* batch size",  # DashScope, TEI
    r"at most \d+ requests can be in one batch|total number of texts must be at most",  # Gemini, Cohere
    r"too many (inputs|texts|items)|split into more batches|too many tokens in batch",  # Mistral
    r"(array|list|input) (should|must) (have|contain) at most \d+ items|at most \d+ (texts|inputs|items|strings)",
    r"(batch|input array|input list)[^.]* (is )?(limited to|must not exceed|maximum of) \d+",  # Voyage, SiliconFlow
)

NO_MONEY = frozenset(
    {
        "insufficient_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
        "billing_error",  # Anthropic
        "exceeded_current_quota_error",  # Moonshot
        "arrearage",  # DashScope
        "accountoverdueerror",  # Volcengine
        "insufficient_balance",
        "credit_limit",
        "spend_limit_reached",
        "1113",  # Zhipu
        "30001",  # SiliconFlow
    }
)
# Not "exceeded your current quota": Gemini says so of a limit that is over in seconds.
NO_MONEY_WORDS = _any(
    r"credit balance is too low|insufficient (balance|credits?|funds)|balance is insufficient|balance is not enough",
    r"(used all available|run out of|out of|doesn'?t have any|no) credits|monthly spending limit",  # xAI
    r"account (is )?(in )?(arrears|overdue|suspended)|account is in good standing",
    r"exceeded your monthly included credits",  # Hugging Face
    "余额不足|欠费",
)

FILTERED = frozenset(
    {
        "content_filter",
        "content_filtered",
        "content_policy_violation",
        "responsibleaipolicyviolation",  # Azure
        "moderation_blocked",
        "data_inspection_failed",  # DashScope
        "datainspectionfailed",
        "content_moderation",
        "prohibited_content",  # Gemini
        "1301",  # Zhipu
    }
)
FILTERED_WORDS = _any(
    r"content management policy|inappropriate content|content exists risk|considered high risk",  # Azure, DashScope
    r"(requires moderation|was flagged|flagged (by|as|for))|violates (usage guidelines|our usage|the usage policy)",
    r"content (policy|filter|moderation)|prohibited content",
)

# A stop that OpenAI spells otherwise, in lower case.
FINISH = {
    "": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "complete": "stop",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "max_length": "length",
    "model_length": "length",  # Mistral
    "model_context_window_exceeded": "length",
    "safety": "content_filter",  # Gemini
    "recitation": "content_filter",
    "blocklist": "content_filter",
    "prohibited_content": "content_filter",
    "spii": "content_filter",
    "sensitive": "content_filter",  # Zhipu
    "error_toxic": "content_filter",  # Cohere
    "network_error": "error",  # Zhipu
    "server_error": "error",
    "abort": "error",  # vLLM, SGLang
    "cancelled": "error",
    "insufficient_system_resource": "error",  # DeepSeek
}


def finish_reason(said: str) -> str:
    """Give a finish reason as OpenAI spells it, `error` for an answer that broke off; others as they are."""
    word = said.strip().lower()
    if word.startswith("content_filter"):  # Gemini adds what for
        return "content_filter"
    return FINISH.get(word, word)
