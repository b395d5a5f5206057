"""The scripts of the limits with the clock in the test's hand."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import redis

from tandem.shared.limits.model import Limits, Scope
from tandem.shared.store.keys import Key
from tandem.shared.store.limits.operations import Granted, Parked, Said, TooLarge, Waiting, operate
from tandem.shared.store.scripts import SCRIPTS, Call, answers_of, command_of, groups_of

SECOND = 1_000_000
START = 1_800_000_000 * SECOND
TAKE = "ours = table.remove(ARGV)\n"  # the last argument is the time
CALLBACK = "local function call(KEYS, ARGV)\n"
OURS = "{math.floor(ours / 1000000), ours % 1000000}"


def scope(*, model: str = "m", **limits: int) -> Scope:
    return Scope("p", model, Limits(**limits))


class Clocked:
    """Runs scripts at times that the test sets, in microseconds."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client
        self.now = START
        self._loaded: dict[str, str] = {}

    def call(self, call: Call[Any]) -> Any:
        """Run one call at this time."""
        return call.parse(self._ask(self.client, [call]))

    def call_all(self, calls: Sequence[Call[Any]]) -> list[Any]:
        """Run several calls at this time, in one round trip."""
        groups = groups_of(calls)
        with self.client.pipeline(transaction=False) as pipe:
            for group in groups:
                self._ask(pipe, group)
            answers = zip(groups, pipe.execute(), strict=True)
        parts = [part for group, answer in answers for part in answers_of(group, answer)]
        return [call.parse(part) for call, part in zip(calls, parts, strict=True)]

    def _ask(self, client: Any, group: Sequence[Call[Any]]) -> Any:
        name = self._function(group[0])
        fcall, function, *rest = command_of([replace(call, args=[*call.args, self.now]) for call in group])
        return client.execute_command(fcall, function.replace(SCRIPTS[group[0].name].function, name), *rest)

    def _function(self, call: Call[Any]) -> str:
        if call.name not in self._loaded:
            script = SCRIPTS[call.name]
            name = f"{script.function}_by_our_clock"
            head, lua = script.source.replace(script.function, name).replace("redis.call('TIME')", OURS).split("\n", 1)
            assert lua.count(CALLBACK) == 1
            self.client.function_load(f"{head}\nlocal ours\n{lua.replace(CALLBACK, CALLBACK + TAKE)}", replace=True)
            self._loaded[call.name] = name
        return self._loaded[call.name]

    def run(self, *operations: dict[str, Any]) -> list[Said]:
        answers: list[Said] = self.call(operate(operations))
        return answers

    def live(self, name: str) -> str:
        """Give the ticket of a run that holds its lease."""
        self.client.hset(Key.JOB + name, mapping={"status": "running", "token": "1"})
        return f"{name}:1:0"

    def end(self, name: str) -> None:
        """Let a run lose its lease."""
        self.client.hset(Key.JOB + name, "token", "2")

    def acquire(self, scope: Scope, name: str, tokens: int = 0, *, waited: int = 0, why: str = "") -> list[Any]:
        """Ask for a request of the run `name`, which has waited for so many microseconds, and why."""
        operation = {"op": "acquire", "ticket": self.live(name), "tokens": tokens, "sort": "", "waited": waited}
        [answer] = self.run(operation | {"why": why, "levels": scope.levels(), "scope": scope.name})
        match answer:
            case Granted(delay):
                return [1, delay]
            case Waiting(delay, reason):
                return [0, delay, reason]
            case TooLarge(name, limit):
                return [-1, name, limit]
        raise AssertionError(answer)

    def settle(self, name: str, tokens: int | None = 0, *, answered: bool = True, **seen: tuple[int, int]) -> None:
        operation: dict[str, Any] = {"op": "settle", "ticket": f"{name}:1:0", "seen": seen, "answered": answered}
        if tokens is not None:
            operation["tokens"] = tokens
        self.run(operation)

    def leave(self, scope: Scope, name: str) -> None:
        self.run({"op": "leave", "ticket": f"{name}:1:0", "levels": scope.levels(), "scope": scope.name})

    def park(self, scope: Scope, delay: int | None = None) -> int:
        operation: dict[str, Any] = {"op": "park", "scope": scope.name, "label": scope.label}
        [answer] = self.run(operation if delay is None else operation | {"delay": delay})
        assert isinstance(answer, Parked)
        return answer.left

    def warm(self, scope: Scope) -> None:
        """Let the limiter learn that reservations are exact; then the bucket is idle again."""
        for n in range(5):
            self.acquire(scope, f"warm{n}", 1)
            self.settle(f"warm{n}", 1)
        self.now += 10 * SECOND
