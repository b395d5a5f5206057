"""What a request will probably cost: tokens counted by bytes, corrected by what models were seen to use."""

from dataclasses import dataclass

from llm_worker.gate import Ask
from llm_worker.tokens import estimate
from shared.job import Usage

FIRST_OUTPUT = 256  # tokens of an answer before the first one was seen
WEIGHT = 0.1  # of the newest in a mean
MOST = 1000  # models and kinds of request that are remembered; jobs may name any model
ROLE = 4  # tokens around a message


@dataclass
class _Seen:
    ratio: float = 1.0  # real input tokens to estimated ones
    output: float | None = None


class Forecast:
    """Learns from settled requests, a process for itself."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, int], _Seen] = {}

    def tokens(self, ask: Ask) -> int:
        """Tokens that `ask` will probably use, input and output, at least 1."""
        seen = self._of(ask)
        return max(1, round(_input(ask) * seen.ratio + _output(ask, seen)))

    def learn(self, ask: Ask, usage: Usage) -> None:
        """Take the real usage of a request."""
        if not usage.input_tokens:
            return
        seen = self._of(ask)
        ratio = usage.input_tokens / _input(ask)
        if seen.output is None:
            seen.ratio, seen.output = ratio, usage.output_tokens
        else:
            seen.ratio += WEIGHT * (ratio - seen.ratio)
            seen.output += WEIGHT * (usage.output_tokens - seen.output)

    def _of(self, ask: Ask) -> _Seen:
        # Answers with a cap are of another kind than those without: one class for each doubling.
        key = (f"{ask.provider}:{ask.model}:{ask.embeds}", (ask.max_output_tokens or 0).bit_length())
        if key not in self._seen and len(self._seen) >= MOST:
            self._seen.clear()
        return self._seen.setdefault(key, _Seen())


def _input(ask: Ask) -> int:
    return max(1, sum(estimate(text) + ROLE for text in ask.texts))


def _output(ask: Ask, seen: _Seen) -> float:
    if ask.embeds:
        return 0
    if seen.output is not None:
        return seen.output
    return ask.max_output_tokens or FIRST_OUTPUT
