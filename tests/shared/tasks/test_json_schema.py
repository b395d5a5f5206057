"""Schemas from users: what is refused, and what must not hang, crash or call home."""

import json
import socket
import subprocess
import sys
from typing import Any

import pytest

from tandem.shared.tasks.json_schema import check_schema, errors
from tests.support.processes import ROOT, clean_environment

PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name"],
    "additionalProperties": False,
}


def test_a_valid_value_has_no_errors() -> None:
    check_schema(PERSON)
    assert errors(PERSON, {"name": "Ada", "age": 36}) == []


def test_each_error_is_a_line_with_its_place() -> None:
    found = errors(
        {**PERSON, "properties": {**PERSON["properties"], "tags": {"items": {"type": "string"}}}},
        {"age": -1, "tags": ["a", 2]},
    )
    assert sorted(found) == [
        "age: -1 is less than the minimum of 0",
        'tags/1: 2 is not of type "string"',
        'the value: "name" is a required property',
    ]
    assert len(errors({"const": "a\nb"}, "c\nd")[0].splitlines()) == 1


PYDANTIC_DECIMAL = r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$"
PASSWORD = r"^(?=.*\d)(?=.*[A-Z)|(])(?!.*\()[^ ]{4,}$"


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        (PYDANTIC_DECIMAL, ["1.50", "-7", "+.5", 3], ["+", ".", "-.", "", "1e5", "1,5"]),
        (PASSWORD, ["abC1", "9999|", "1)xx"], ["abcd1", "ABCD", "C1(xx", "C1 xx", "C1"]),
    ],
)
def test_a_leading_look_ahead_is_a_condition_of_its_own(pattern: str, good: list[Any], bad: list[str]) -> None:
    schema = {"properties": {"a": {"anyOf": [{"type": "number"}, {"type": "string", "pattern": pattern}]}}}
    check_schema(schema)
    assert [value for value in good if errors(schema, {"a": value})] == []
    assert [value for value in bad if not errors(schema, {"a": value})] == []


def test_what_looks_like_a_pattern_and_is_data_stays() -> None:
    data = {"pattern": PYDANTIC_DECIMAL}
    schema = {"properties": {"const": {"const": data}, "pattern": {"pattern": "^a"}}}
    assert errors(schema, {"const": data, "pattern": "ab"}) == []
    assert len(errors(schema, {"const": {"pattern": "^"}, "pattern": "b"})) == 2


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": "objekt"}, "not valid"),
        ({"type": 5}, "not valid"),
        ({"required": "name"}, "not of type"),
        ({"multipleOf": 0}, "minimum"),
        ({"$ref": "#/$defs/nobody"}, "does not exist"),
        ({"$schema": 5}, "not of type"),
        ({"$schema": "http://example.com/mine"}, "meta-schema"),
        ({"$id": "::::"}, "URI"),
        ({"pattern": "("}, "regex"),
        ({"pattern": r"(a)\1"}, "regex"),  # a backreference needs backtracking
        ({"pattern": "(?=a)b"}, "regex"),  # and so does looking ahead, unless it is a condition of its own
        ({"pattern": "^(?!a)b|c"}, "regex"),
        ({"pattern": "^(?!a"}, "regex"),
        ({"pattern": "^(?=a)?b"}, "regex"),  # a condition that may fail is none
        ({"pattern": "^a(?!b)"}, "regex"),
        ({"pattern": "a{1000000000}"}, "regex"),
        ({"pattern": "((a{100}){100}){100}"}, "regex"),
        ({"patternProperties": {"(": {}}}, "regex"),
        ({"const": "\ud800"}, "UTF-8"),
    ],
)
def test_what_is_no_usable_schema(schema: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why) as info:
        check_schema(schema)
    assert str(info.value).startswith("not a usable JSON Schema: ")
    assert len(str(info.value).splitlines()) == 1


# --- remote references


@pytest.mark.parametrize(
    "schema",
    [
        '{"$ref": "URL/schema"}',
        '{"properties": {"a": {"items": {"$ref": "URL/schema#/x"}}}}',
        '{"$id": "URL/root", "$ref": "other"}',
        '{"$schema": "URL/meta"}',
        '{"$dynamicRef": "URL/schema#x"}',
        '{"$ref": "file:///etc/hostname"}',
        '{"$ref": "json-schema:///x"}',
    ],
)
def test_remote_references_are_refused_and_not_followed(schema: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        with pytest.raises(ValueError, match="not a usable JSON Schema"):
            check_schema(json.loads(schema.replace("URL", f"http://127.0.0.1:{server.getsockname()[1]}")))
        with pytest.raises(BlockingIOError):  # nobody called
            server.accept()


# --- what must come to an end: in a process of its own, which is ended if it hangs

CODE = """
import json, sys
from tandem.shared.tasks.json_schema import check_schema, errors
schema, value = json.load(sys.stdin)
try:
    check_schema(schema)
except ValueError as error:
    print("refused:", error)
else:
    print("valid" if not errors(schema, value) else "invalid")
"""


def outcome(schema: Any, value: Any) -> str:
    """What becomes of it, in a process that is given 20 s (Python's start and our imports included)."""
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        input=json.dumps([schema, value]),
        env=clean_environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"ended with {done.returncode}: {done.stderr[-500:]}"
    return done.stdout.strip()


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(a|aa)+$", "^(a|a?)+$", "(.*a){12}$", "^([a-z]+)*[0-9]$"])
def test_a_catastrophic_pattern_is_fast(pattern: str) -> None:
    """With a backtracking engine 30 characters take minutes."""
    value = "a" * 5000 + "!"
    assert outcome({"pattern": pattern}, value) == "invalid"


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"allOf": [{"$ref": "#"}]},
        {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]},
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        {"unevaluatedProperties": {"$ref": "#"}, "allOf": [{"$ref": "#"}]},
        {"if": {"$ref": "#"}, "then": {"$ref": "#"}},
    ],
    ids=lambda schema: next(reversed(schema)),
)
def test_a_schema_that_refers_to_itself_comes_to_an_end(schema: dict[str, Any]) -> None:
    assert outcome(schema, {"a": {"b": 1}}) == "valid"


def test_recursion_that_means_something() -> None:
    tree = {
        "type": "object",
        "properties": {"value": {"type": "integer"}, "children": {"type": "array", "items": {"$ref": "#"}}},
        "required": ["value"],
    }
    check_schema(tree)
    assert errors(tree, {"value": 1, "children": [{"value": 2, "children": []}]}) == []
    assert errors(tree, {"value": 1, "children": [{"value": 2, "children": [{}]}]}) == [
        'children/0/children/0: "value" is a required property'
    ]


@pytest.mark.parametrize("depth", [150, 450])
def test_a_deeply_nested_schema_is_refused_and_crashes_nothing(depth: int) -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"properties": {"a": schema}}
    assert outcome(schema, {}) == "refused: not a usable JSON Schema: Recursion limit reached"


@pytest.mark.parametrize("depth", [100, 200])
def test_a_deeply_nested_value(depth: int) -> None:
    value: Any = "end"
    for _ in range(depth):
        value = [value]
    assert outcome({"type": "array", "items": {"$ref": "#"}}, value) == "invalid"


def _doubling(levels: int) -> dict[str, Any]:
    """A schema of a few lines that means 2ⁿ checks."""
    steps = {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(levels)}
    return {"$ref": "#/$defs/a0", "$defs": {**steps, f"a{levels}": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        (_doubling(18), "written out"),
        ({"anyOf": [{"pattern": f"a{n}"} for n in range(21)]}, "more than 20 patterns"),
        ({"pattern": r"\p{L}{1000}"}, "regex"),
        ({"allOf": [{"pattern": f"(a{{1,50}}){{1,50}}[^a{n}]"} for n in range(20)]}, "too large together"),
        ({"$defs": {"p": {"pattern": "(a{1,30}){1,30}[^a]"}}, "allOf": [{"$ref": "#/$defs/p"}] * 500}, "too large"),
        ({"enum": ["x" * 70_000]}, "bytes"),
        ({"$dynamicRef": "#a", "$dynamicAnchor": "a"}, "dynamic"),
        ({"$ref": "other.json"}, "only references of the form"),
    ],
)
def test_what_could_run_long_is_refused_at_submit(schema: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check_schema(schema)


def test_recursion_is_welcome_as_long_as_the_data_is_not_bottomless() -> None:
    node = {
        "type": "object",
        "properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}},
        "additionalProperties": False,
    }
    check_schema(node)
    assert errors(node, {"left": {"left": {}}, "right": {}}) == []
    assert errors(node, {"left": {"middle": {}}})
    value: dict[str, Any] = {}
    for _ in range(50):
        value = {"left": value}
    assert "nested deeper" in errors(node, value)[0]


def test_patterns_of_usual_size_may_be_many_and_stand_in_a_recursion() -> None:
    price = {"anyOf": [{"type": "number"}, {"type": "string", "pattern": PYDANTIC_DECIMAL}]}
    tree = {"properties": {"price": price, "left": {"$ref": "#/$defs/tree"}, "right": {"$ref": "#/$defs/tree"}}}
    check_schema({"$defs": {"tree": tree}, "$ref": "#/$defs/tree"})
    check_schema({"properties": {str(n): {"pattern": rf"^\d{{4}}-\d\d-\d\d \w{{1,{n}}}$"} for n in range(1, 21)}})
    check_schema({"pattern": "^.{1,500}$", "enum": [{"pattern": "("}, {"pattern": "(("}, {"pattern": "((("}]})


def test_at_most_ten_errors_are_listed() -> None:
    assert len(errors({"items": {"type": "string"}}, list(range(100)))) == 10
