"""The limiter's own script with the clock in the test's hand."""

import json
from typing import Any

import redis

from tandem.llm_worker.rate_limit.model import Limits, Scope
from tandem.llm_worker.rate_limit.script import ANSWER, Granted, Parked, Said, TooLarge, Waiting, source

SECOND = 1_000_000
START = 1_800_000_000 * SECOND
CLOCK = "local function now_us() return tonumber(ARGV[2]) end"


def scope(*, model: str = "m", **limits: int) -> Scope:
    return Scope("p", model, Limits(**limits))


class Clocked:
    """Runs operations at times that the test sets, in microseconds."""

    def __init__(self, client: redis.Redis) -> None:
        self.script = client.register_script(source(CLOCK))
        self.now = START

    def run(self, *operations: dict[str, Any]) -> list[Said]:
        answers: list[Said] = ANSWER.read(self.script(args=[json.dumps(operations), self.now]))
        return answers

    def acquire(
        self, scope: Scope, ticket: str, tokens: int = 0, *, sort: str = "", urgent: bool = False, by: str = "a"
    ) -> list[Any]:
        operation = {"op": "acquire", "ticket": ticket, "by": by, "tokens": tokens, "sort": sort, "urgent": urgent}
        [answer] = self.run(operation | {"levels": scope.levels(), "park": scope.name})
        match answer:
            case Granted(delay):
                return [1, delay]
            case Waiting(delay, reason):
                return [0, delay, reason]
            case TooLarge(name, limit):
                return [-1, name, limit]
        raise AssertionError(answer)

    def settle(self, ticket: str, tokens: int | None = 0, *, by: str = "a", **seen: tuple[int, int]) -> None:
        operation: dict[str, Any] = {"op": "settle", "ticket": ticket, "by": by, "seen": seen}
        if tokens is not None:
            operation["tokens"] = tokens
        self.run(operation)

    def park(self, scope: Scope, delay: int | None = None) -> int:
        operation: dict[str, Any] = {"op": "park", "park": scope.name, "label": scope.label}
        [answer] = self.run(operation if delay is None else operation | {"delay": delay})
        assert isinstance(answer, Parked)
        return answer.left

    def warm(self, scope: Scope) -> None:
        """Let the limiter learn that reservations are exact; then the bucket is idle again."""
        for n in range(5):
            self.acquire(scope, f"warm{n}", 1)
            self.settle(f"warm{n}", 1)
        self.now += 10 * SECOND
