"""JSON Schema from users: bounded, compiled without remote references, matched without backtracking.

A schema is a small program that runs on the worker's event loop. What could run long is refused at submit:
regular expressions are compiled by a linear-time engine with a size limit, and references are counted as if
they were written out, so that `a: [b, b], b: [c, c], …` is seen for the 2ⁿ it is.
"""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

import jsonschema_rs

from tandem.shared.tasks.look_ahead import LOOKS_AHEAD, without_look_aheads

MAX_BYTES = 64 * 1024
MAX_PATTERNS = 20
MAX_PATTERN_SIZE = 1_000_000  # bytes of all compiled patterns together: a character costs some 0.1 ms at most
SIZES = (20_000, 50_000, 100_000, 200_000, 500_000, MAX_PATTERN_SIZE)  # by which patterns are told apart
SMALL = 500  # what a pattern below the first of them counts: it is run by tables
MAX_NODES = 10_000  # with references written out
RECURSION = 8  # times that a recursive reference is written out
MAX_DEPTH = 12  # of data under a recursive schema; MAX_NODES bounds its branching
MAX_ERRORS = 10


def check_schema(schema: dict[str, Any]) -> None:
    """Raise ValueError if `schema` is not a usable JSON Schema."""
    try:
        plain = _plain(schema)
        _check_size(plain)
        _compile(plain)
        _check_patterns(plain)
    except (jsonschema_rs.ValidationError, ValueError, RecursionError) as error:
        raise ValueError(f"not a usable JSON Schema: {str(error).splitlines()[0]}") from None


def _check_size(schema: dict[str, Any]) -> None:
    if len(json.dumps(schema)) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES} bytes")
    if sum(len(_patterns(node)) for node, _ in _nodes(schema, follow=False)) > MAX_PATTERNS:
        raise ValueError(f"it has more than {MAX_PATTERNS} patterns")
    for _ in _nodes(schema):
        pass  # the walk itself says what is too much


def _check_patterns(schema: dict[str, Any]) -> None:
    """Bound what all patterns cost together, each as often as a reference leads to it."""
    often = Counter(pattern for node, _ in _nodes(schema) for pattern in _patterns(node))
    if sum(times * _price(pattern) for pattern, times in often.items()) > MAX_PATTERN_SIZE:
        raise ValueError("its patterns are too large together; say lengths with maxLength")


def _price(pattern: str) -> int:
    """Give about how many bytes it has when it is compiled: the time that a character takes grows with them."""
    for size in SIZES:
        with suppress(jsonschema_rs.ValidationError):
            _compile({"pattern": pattern}, size)
            return size if size > SIZES[0] else SMALL
    return 0  # data that looks like a pattern: the schema itself was compiled


def errors(schema: dict[str, Any], value: Any) -> list[str]:
    """Say why `value` is not valid against `schema`, one line an error, ten at most; empty if it is valid."""
    if any(recursive for _, recursive in _nodes(schema)) and _depth(value) > MAX_DEPTH:
        return [f"the value: nested deeper than {MAX_DEPTH} levels"]
    return [
        f"{'/'.join(map(str, error.instance_path)) or 'the value'}: {error.message}"
        for error in islice(_compile(_plain(schema)).iter_errors(value), MAX_ERRORS)
    ]


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """Write the schema for an engine without look-aheads."""
    looks_ahead = any(str(node.get("pattern")).startswith(LOOKS_AHEAD) for node, _ in _nodes(schema, follow=False))
    plain: dict[str, Any] = without_look_aheads(schema) if looks_ahead else schema
    return plain


def _compile(schema: dict[str, Any], size: int = MAX_PATTERN_SIZE) -> jsonschema_rs.Validator:
    options = jsonschema_rs.RegexOptions(size_limit=size, dfa_size_limit=MAX_PATTERN_SIZE)
    return jsonschema_rs.validator_for(schema, retriever=_no_remote, pattern_options=options)


def _no_remote(uri: str) -> Any:
    raise ValueError(f"remote references are not followed: {uri}")


def _patterns(node: dict[str, Any]) -> list[str]:
    own, named = node.get("pattern"), node.get("patternProperties")
    return [*([own] if isinstance(own, str) else []), *(named if isinstance(named, dict) else ())]


def _nodes(schema: dict[str, Any], *, follow: bool = True) -> Iterator[tuple[dict[str, Any], bool]]:
    """Walk through all objects of a schema, with references written out; tells whether one is a recursion.

    Raises:
        ValueError: more than MAX_NODES, or a reference that is not of the form `#/…`.

    """
    waiting: list[tuple[Any, tuple[str, ...]]] = [(schema, ())]
    for _ in range(MAX_NODES):
        if not waiting:
            return
        node, path = waiting.pop()
        if isinstance(node, list):
            waiting += [(item, path) for item in node if isinstance(item, dict | list)]
            continue
        yield node, len(path) != len(set(path))
        waiting += [(item, path) for item in node.values() if isinstance(item, dict | list)]
        if "$dynamicRef" in node or "$recursiveRef" in node:
            raise ValueError("dynamic references are not followed")
        reference = node.get("$ref")
        if follow and isinstance(reference, str) and path.count(reference) < RECURSION:
            waiting.append((_resolve(schema, reference), (*path, reference)))
    raise ValueError(f"with its references written out it has more than {MAX_NODES} parts")


def _resolve(schema: dict[str, Any], reference: str) -> Any:
    """Follow a JSON Pointer (RFC 6901) within the schema."""
    if reference != "#" and not reference.startswith("#/"):
        raise ValueError(f"only references of the form #/… are followed, not {reference[:100]}")
    node: Any = schema
    for part in reference.removeprefix("#").split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        node = node.get(key, {}) if isinstance(node, dict) else {}
    return node


def _depth(value: Any) -> int:
    """Count the levels of nesting, without recursion."""
    level, deep = [value], 0
    while level := [item for node in level if isinstance(node, dict | list) for item in _children(node)]:
        deep += 1
    return deep


def _children(node: dict[str, Any] | list[Any]) -> list[Any]:
    return list(node.values()) if isinstance(node, dict) else node
