"""Who runs the job book's calls: one driver for asyncio code, one for synchronous code."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any, TypeVar, cast

from redis.exceptions import NoPermissionError, OutOfMemoryError, RedisError, ResponseError

from tandem.shared.errors import StoreUnavailable
from tandem.shared.runtime.outage import Outage
from tandem.shared.runtime.redis_client import RAISED, AsyncClient, Client, unavailable
from tandem.shared.store.scripts import SCRIPTS, Call, answers_of, command_of, groups_of

T = TypeVar("T")
log = logging.getLogger("tandem.book")


class AsyncBook:
    """The job book for asyncio code. Raises StoreUnavailable when Redis is away or can't write.

    `patience`: seconds after which a round trip is given up, with all its tries. None: those alone bound it, at some
    20 s. What was given up may have been done, or be done yet.
    """

    def __init__(self, client: AsyncClient, *, patience: float | None = None) -> None:
        self.client = client
        self._patience = patience

    async def run(self, call: Call[T]) -> T:
        """Run one call: one round trip."""
        async with self._in_time():
            return await self._run(call)

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._patience):
                yield
        except TimeoutError as error:
            raise StoreUnavailable(f"no answer within {self._patience:g} s") from error

    async def run_large(self, call: Call[T]) -> T:
        """Run a call whose answer may be large: it is read in a thread."""
        answer = await self.run(replace(call, parse=_as_it_is))
        return await asyncio.to_thread(call.parse, answer)

    async def _run(self, call: Call[T]) -> T:
        try:
            answer = await self.client.execute_command(*_command(call))  # type: ignore[no-untyped-call]  # redis-py has no types here
        except RAISED as error:
            if not _is_unknown(error):
                raise _outage(error) from error
            answer = await self._load(call)
        return call.parse(answer)

    async def _load(self, call: Call[T]) -> Any:
        """Give Redis a script that it does not know, and run it."""
        try:
            with _already_there():
                await self.client.execute_command(*_library(call))  # type: ignore[no-untyped-call]  # as above
            return await self.client.execute_command(*_command(call))  # type: ignore[no-untyped-call]  # as above
        except OutOfMemoryError as error:
            return await self._run_whole(call, error)
        except RAISED as error:
            raise _outage(error) from error

    async def _run_whole(self, call: Call[Any], full: OutOfMemoryError) -> Any:
        """Run a script without giving it to Redis, whose memory is full: what ends work makes room there."""
        try:
            return await self.client.execute_command(*_whole(call))  # type: ignore[no-untyped-call]  # as above
        except NoPermissionError:
            raise _outage(full) from full
        except RAISED as error:
            raise _outage(error) from error

    async def run_all(self, calls: Sequence[Call[T]]) -> list[T]:
        """Run several calls in one round trip. The first that failed is raised, when all are through."""
        return _all_or_raise(await self.attempt_all(calls))

    async def attempt_all(self, calls: Sequence[Call[T]]) -> list[T | Exception]:
        """Run several calls in one round trip; each has its answer or its error."""
        if not calls:
            return []
        try:
            async with self._in_time():
                return await self._attempt_all(calls)
        except StoreUnavailable as error:
            return [error for _ in calls]

    async def _attempt_all(self, calls: Sequence[Call[T]]) -> list[T | Exception]:
        pipeline, groups = self.client.pipeline(transaction=False), groups_of(calls)
        for group in groups:
            pipeline.execute_command(*command_of(group))
        try:
            answers = await pipeline.execute(raise_on_error=False)
        except RAISED as error:
            return [_outage(error) for _ in calls]
        except UnicodeEncodeError as error:  # an argument that no connection can send: nothing was sent
            return [error for _ in calls]
        outcomes: list[T | Exception] = []
        for call, answer in _pairs(groups, answers):
            outcome: T | Exception = await self._read(call, answer)
            outcomes.append(outcome)
        return outcomes

    async def _read(self, call: Call[T], answer: Any) -> T | Exception:
        try:
            if _is_unknown(answer):
                answer = await self._load(call)
        except (RedisError, StoreUnavailable) as error:
            return error
        if isinstance(answer, RedisError):
            return _outage(answer)
        try:
            return call.parse(answer)
        except Exception as error:  # noqa: BLE001 - an answer that can't be read is its own call's error, and no other's
            return error

    async def insist(self, call: Call[T]) -> T:
        """Run a call that must not be lost: again and again until Redis has taken it."""
        outage = Outage(log, "%s waits for Redis", call.name)
        while True:
            try:
                return await self.run(call)
            except StoreUnavailable as error:
                await asyncio.sleep(outage.pause(error))

    async def aclose(self) -> None:
        await self.client.aclose()


class Book:
    """The job book for synchronous code. Raises StoreUnavailable when Redis is away or can't write."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def run(self, call: Call[T]) -> T:
        """Run one call: one round trip."""
        try:
            answer = self._execute(call)
        except RedisError as error:
            raise _outage(error) from error
        return call.parse(answer)

    def _execute(self, call: Call[Any]) -> Any:
        try:
            return self.client.execute_command(*_command(call))  # type: ignore[no-untyped-call]  # redis-py has no types here
        except ResponseError as error:
            if not _is_unknown(error):
                raise
        try:
            with _already_there():
                self.client.execute_command(*_library(call))  # type: ignore[no-untyped-call]  # as above
            return self.client.execute_command(*_command(call))  # type: ignore[no-untyped-call]  # as above
        except OutOfMemoryError as full:
            return self._run_whole(call, full)

    def _run_whole(self, call: Call[Any], full: OutOfMemoryError) -> Any:
        """Do as AsyncBook does."""
        try:
            return self.client.execute_command(*_whole(call))  # type: ignore[no-untyped-call]  # as above
        except NoPermissionError:
            raise full from None

    def run_all(self, calls: Sequence[Call[T]]) -> list[T]:
        """Run several calls in one round trip. The first that failed is raised, when all are through."""
        return _all_or_raise(self.attempt_all(calls))

    def attempt_all(self, calls: Sequence[Call[T]]) -> list[T | Exception]:
        """Run several calls in one round trip; each has its answer or its error."""
        pipeline, groups = self.client.pipeline(transaction=False), groups_of(calls)
        for group in groups:
            pipeline.execute_command(*command_of(group))  # type: ignore[no-untyped-call]  # as above
        try:
            answers = pipeline.execute(raise_on_error=False)
        except RedisError as error:
            return [_outage(error) for _ in calls]
        outcomes: list[T | Exception] = []
        for call, answer in _pairs(groups, answers):
            outcome: T | Exception = self._read(call, answer)
            outcomes.append(outcome)
        return outcomes

    def _read(self, call: Call[T], answer: Any) -> T | Exception:
        if isinstance(answer, RedisError) and not _is_unknown(answer):
            return _outage(answer)
        try:
            return self.run(call) if _is_unknown(answer) else call.parse(answer)
        except Exception as error:  # noqa: BLE001 - an answer that can't be read is its own call's error, and no other's
            return error

    def insist(self, call: Call[T], *, unless: Callable[[], bool] = lambda: False) -> T:
        """Run a call that must not be lost: again and again until Redis has taken it.

        Raises:
            StoreUnavailable: Redis is away, and `unless` says that there is no time left to wait for it.

        """
        outage = Outage(log, "%s waits for Redis", call.name)
        while True:
            try:
                return self.run(call)
            except StoreUnavailable as error:
                if unless():
                    raise
                time.sleep(outage.pause(error))


def _as_it_is(answer: Any) -> Any:
    return answer


def _all_or_raise(outcomes: list[T | Exception]) -> list[T]:
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome
    return cast("list[T]", outcomes)


def _pairs(groups: Sequence[Sequence[Call[Any]]], answers: Sequence[Any]) -> Iterator[tuple[Call[Any], Any]]:
    for group, answer in zip(groups, answers, strict=True):
        yield from zip(group, answers_of(group, answer), strict=True)


def _command(call: Call[Any]) -> list[Any]:
    return command_of([call])


def _library(call: Call[Any]) -> list[Any]:
    return ["FUNCTION", "LOAD", SCRIPTS[call.name].source]


def _whole(call: Call[Any]) -> list[Any]:
    return ["EVAL", SCRIPTS[call.name].whole, 0, *call.args]


@contextmanager
def _already_there() -> Iterator[None]:
    """Take it for well if somebody else has given Redis the same library: its name says what is in it."""
    try:
        yield
    except ResponseError as error:
        if not is_already_there(error):
            raise


def is_already_there(error: Exception) -> bool:
    """Tell whether Redis takes a library for that reason alone not."""
    return str(error).endswith("already exists")


def _is_unknown(answer: Any) -> bool:
    """Tell whether Redis has yet to be given the script that was called."""
    return isinstance(answer, ResponseError) and str(answer) == "Function not found"


def _outage(error: Exception) -> Exception:
    """An outage becomes ours, also when a script is deleted before its call; a mistake of ours stays what it is."""
    return StoreUnavailable(str(error)) if unavailable(error) or _is_unknown(error) else error
