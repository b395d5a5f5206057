r"""Look-aheads at the beginning of a pattern, written as conditions beside it: `^(?!X)Y` is `^Y` and not `^X`.

The linear-time engine has no look-aheads, and pydantic writes a Decimal with one (`^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$`), as
many do who want a digit and a capital in a password. One that stands elsewhere stays, and is refused.
"""

from typing import Any

NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})  # schemas by name
LOOKS_AHEAD = ("^(?!", "^(?=")
QUANTIFIERS = ("?", "*", "+", "{")
DATA = frozenset({"const", "enum", "default", "examples", "example"})


def without_look_aheads(node: Any) -> Any:
    """Rewrite a schema and all within it. Raises RecursionError if it is nested too deep."""
    if isinstance(node, list):
        return [without_look_aheads(item) for item in node]
    if not isinstance(node, dict):
        return node
    plain = {key: _value(key, value) for key, value in node.items()}
    pattern, beside = plain.get("pattern"), plain.get("allOf", [])
    if isinstance(pattern, str) and isinstance(beside, list):
        rest, conditions = _apart(pattern)
        if conditions:
            plain |= {"pattern": rest, "allOf": [*beside, *conditions]}
    return plain


def _value(key: str, value: Any) -> Any:
    if key in DATA:
        return value
    if key in NAMED and isinstance(value, dict):
        return {name: without_look_aheads(schema) for name, schema in value.items()}
    return without_look_aheads(value)


def _apart(pattern: str) -> tuple[str, list[dict[str, Any]]]:
    """Give the pattern without its leading look-aheads, and these as schemas; none if they are no such."""
    conditions: list[dict[str, Any]] = []
    start = 1
    while pattern.startswith(LOOKS_AHEAD) and pattern.startswith(("(?!", "(?="), start):
        end = _end(pattern, start + 3)
        looked_for = {"pattern": f"^(?:{pattern[start + 3 : end]})"}
        conditions.append(looked_for if pattern[start + 2] == "=" else {"not": {"type": "string", **looked_for}})
        start = end + 1
    rest = pattern[start:]
    if (
        not conditions
        or start > len(pattern)
        or rest.startswith(QUANTIFIERS)
        or _end(rest, 0, alternatives=True) < len(rest)
    ):
        return pattern, []
    return f"^{rest}", conditions


def _end(pattern: str, start: int, *, alternatives: bool = False) -> int:
    """Give where the group ends that `start` is in, or its first alternative; the pattern's length if nowhere."""
    depth, in_class, at = 0, False, start
    while at < len(pattern):
        char = pattern[at]
        if char == "\\":
            at += 1
        elif in_class:
            in_class = char != "]"
        elif char == "[":
            in_class = True
        elif depth == 0 and (char == ")" or (alternatives and char == "|")):
            return at
        else:
            depth += (char == "(") - (char == ")")
        at += 1
    return len(pattern)
