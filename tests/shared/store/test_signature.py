"""Signatures: what Python declares is what a script gets and what Python reads of its answer, on a real server."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest

from tandem.shared.jobs.model import Status
from tandem.shared.store.executor import Book
from tandem.shared.store.signature import Answer, Arguments, Foreign, constants


class Pair(NamedTuple):
    id: str
    token: str


@dataclass(frozen=True)
class Row:
    name: str
    count: int
    share: float
    yes: bool
    age: timedelta | None
    seen: datetime
    status: Status
    note: str = "none"


@dataclass(frozen=True)
class Found:
    rows: list[Row]
    next: Pair | None


@dataclass(frozen=True)
class Missing:
    why: Foreign


def run(book: Book, lua: str, arguments: Arguments | None = None, answer: Answer | None = None, **given: Any) -> Any:
    parts = [answer.lua() if answer else "", arguments.lua() if arguments else "", lua]
    args = arguments.encode((), given) if arguments else []
    raw: Any = book.client.eval("\n".join(parts), 0, *args)
    return answer.read(raw) if answer else raw


def test_arguments_are_locals_of_their_types(book: Book) -> None:
    def signature(
        name: str,
        ttl: timedelta,
        at: datetime,
        *,
        count: int,
        yes: bool,
        no: bool,
        given: str | None,
        none: str | None,
        missing: int | None,
        head: dict[str, Any],
        rest: Sequence[str] = (),
    ) -> None: ...

    lua = """
    assert(name == 'ann' and ttl == 1500 and at == 86400000 and count == 3 and yes == true and no == false)
    assert(given == 'x' and none == nil and missing == nil and head.a[1] == 1)
    return rest
    """
    given: dict[str, Any] = {
        "name": "ann",
        "ttl": timedelta(seconds=1.5),
        "at": datetime(1970, 1, 2, tzinfo=UTC),
        "count": 3,
        "yes": True,
        "no": False,
        "given": "x",
        "none": None,
        "missing": None,
        "head": {"a": [1]},
    }
    arguments = Arguments(signature)
    assert run(book, lua, arguments, **given) == []
    many = [str(n) for n in range(5000)]
    assert run(book, lua, arguments, **given, rest=many) == [n.encode() for n in many]


def test_a_row_of_the_rest_has_names(book: Book) -> None:
    def signature(count: int, pairs: Sequence[Pair]) -> None: ...

    lua = "assert(#pairs == count)\nreturn {pairs[1].id, pairs[2].token}"
    given = [Pair("a", "1"), Pair("b", "2")] * 10_000
    assert run(book, lua, Arguments(signature), count=20_000, pairs=given) == [b"a", b"2"]


ROW = "Row{name = 'é', count = '7', share = 0.25, yes = %s, age = %s, seen = 1000, status = 'queued', note = %s}"


@pytest.mark.parametrize(
    ("lua", "expected"),
    [
        (
            f"return Found{{rows = {{{ROW % ('true', '1500', 'nil')}}}, next = Pair{{id = 'a', token = 'b'}}}}",
            Found(
                [
                    Row(
                        "é",
                        7,
                        0.25,
                        yes=True,
                        age=timedelta(seconds=1.5),
                        seen=datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC),
                        status=Status.QUEUED,
                    )
                ],
                Pair("a", "b"),
            ),
        ),
        (
            f"return Found{{rows = {{{ROW % ('false', 'nil', repr('n'))}}}}}",
            Found(
                [
                    Row(
                        "é",
                        7,
                        0.25,
                        yes=False,
                        age=None,
                        seen=datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC),
                        status=Status.QUEUED,
                        note="n",
                    )
                ],
                None,
            ),
        ),
        ("return Missing{why = '\\255'}", Missing(Foreign("\ufffd"))),
    ],
)
def test_an_answer_is_read_by_name(book: Book, lua: str, expected: object) -> None:
    assert run(book, lua, answer=Answer(Found | Missing)) == expected


def test_a_field_that_a_script_forgot_is_no_answer(book: Book) -> None:
    with pytest.raises(ValueError, match="shorter"):
        run(book, "return Missing{}", answer=Answer(Missing))


@pytest.mark.parametrize(
    ("kind", "lua", "expected"),
    [(int, "'5'", 5), (bool, "false", False), (list[str], "{'a'}", ["a"]), (Status | None, "false", None)],
)
def test_plain_answers(book: Book, kind: Any, lua: str, expected: object) -> None:
    assert run(book, f"return {lua}", answer=Answer(kind)) == expected


def test_what_no_script_can_answer_with_is_refused() -> None:
    with pytest.raises(TypeError, match="answer"):
        Answer(Callable)


def test_constants_are_written_as_lua(book: Book) -> None:
    head = constants(
        {"TEXT": "ab", "TIME": timedelta(seconds=2), "SET": frozenset("ab"), "LIST": (1, "x")}
        | {"TABLE": {Status.QUEUED: {Status.FAILED: 1}}}
    )
    lua = f"{head}\nreturn {{TEXT, TIME, tostring(SET.a), LIST[2], TABLE.queued.failed}}"
    assert run(book, lua) == [b"ab", 2000, b"true", b"x", 1]
