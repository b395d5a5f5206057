"""Signatures of Lua scripts: a Python function declares the arguments and the answer of a script by names and types.

From it comes the Lua that a script begins with: a local for each argument, and a constructor for each class that it may
answer with, such as `return Page{ids = ids, next = next}`. So neither side counts positions (docket's `_lua.py` has
the idea). Arguments and answers stay flat lists, which cost Redis nothing to read.

Times and durations are whole milliseconds in Lua, None is nil, and a Sequence at the end takes all further arguments:
of texts some 7,000, which is what Lua's stack holds, of rows as many as there are.
"""

import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime, timedelta
from enum import Enum
from functools import cache, reduce
from operator import or_
from types import NoneType, UnionType
from typing import Any, NewType, Union, get_args, get_origin, get_type_hints

from tandem.shared.jobs.model import at

# A text that anybody may have written: what is no UTF-8 in it must stop nobody.
Foreign = NewType("Foreign", str)
NUMBERS = (int, float, timedelta, datetime)


def ms(duration: timedelta) -> int:
    """Whole milliseconds."""
    return round(duration / timedelta(milliseconds=1))


class Arguments:
    """The arguments of a script, as `function` declares them."""

    def __init__(self, function: Callable[..., Any]) -> None:
        hints = get_type_hints(function)
        parameters = inspect.signature(function).parameters
        self.names = tuple(parameters)
        self._kinds = [hints[name] for name in self.names]
        self._defaults = {name: p.default for name, p in parameters.items() if p.default is not p.empty}
        self._rest = bool(self._kinds) and get_origin(self._kinds[-1]) is Sequence

    def encode(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Any]:
        """List the values of a call in their order, as Redis takes them."""
        given = {**self._defaults, **dict(zip(self.names, args, strict=False)), **kwargs}
        values = [given[name] for name in self.names]
        if not self._rest:
            return [_encode(value) for value in values]
        *single, rest = values
        flat = (part for item in rest for part in (item if isinstance(item, tuple) else (item,)))
        return [*map(_encode, single), *flat]

    def lua(self) -> str:
        """Write the locals that a script reads its arguments from."""
        singles = len(self.names) - self._rest
        names = ", ".join(self.names[:singles])
        values = ", ".join(_argument(kind, i) for i, kind in enumerate(self._kinds[:singles], 1))
        lines = [f"local {names} = {values}"] if singles else []
        if self._rest:
            lines.append(_rest(self.names[-1], get_args(self._kinds[-1])[0], singles + 1))
        return "\n".join(lines)


ENCODERS: dict[type, Callable[[Any], Any]] = {
    NoneType: lambda _none: "",
    bool: int,
    timedelta: ms,
    datetime: lambda moment: round(moment.timestamp() * 1000),
    list: json.dumps,
    dict: json.dumps,
}


def _encode(value: Any) -> Any:
    encoder = ENCODERS.get(type(value))
    return encoder(value) if encoder else value


def _argument(kind: Any, position: int) -> str:
    inner, optional = _without_none(kind)
    text = f"ARGV[{position}]"
    if inner is bool:
        return f"{text} == '1'"
    if inner in NUMBERS:
        return f"tonumber({text})"  # of nothing: nil
    if get_origin(inner) in {list, dict}:
        return f"cjson.decode({text})"
    return f"{text} ~= '' and {text} or nil" if optional else text


def _rest(name: str, row: Any, first: int) -> str:
    columns = getattr(row, "_fields", ())
    if not columns:
        return f"local {name} = {{unpack(ARGV, {first})}}"
    item = ", ".join(f"{column} = ARGV[i + {n}]" for n, column in enumerate(columns))
    return f"local {name} = {{}}\nfor i = {first}, #ARGV, {len(columns)} do {name}[#{name} + 1] = {{{item}}} end"


class Answer:
    """The answer of a script: numbers, texts and lists, or classes of which the script has constructors."""

    def __init__(self, kind: Any) -> None:
        self.read: Callable[[Any], Any] = _reader(kind)
        self._kind = kind

    def lua(self) -> str:
        """Write the constructors."""
        return "\n".join(dict.fromkeys(_constructors(self._kind)))


@cache
def _columns(kind: Any) -> dict[str, tuple[Any, Any]]:
    """Give the fields of a class with their types and defaults; MISSING: it has none."""
    hints = get_type_hints(kind)
    if is_dataclass(kind):
        return {field.name: (hints[field.name], field.default) for field in fields(kind)}
    return {name: (hints[name], kind._field_defaults.get(name, MISSING)) for name in kind._fields}


def _is_class(kind: Any) -> bool:
    return is_dataclass(kind) or hasattr(kind, "_fields")


def _without_none(kind: Any) -> tuple[Any, bool]:
    """Give the type without its `| None`, and whether it had one."""
    if kind is NoneType:
        return kind, False
    parts = get_args(kind) if get_origin(kind) in {Union, UnionType} else (kind,)
    inner = [part for part in parts if part is not NoneType]
    return (inner[0] if len(inner) == 1 else reduce(or_, inner)), len(inner) < len(parts)


def _constructors(kind: Any, *, tagged: bool = False) -> Iterator[str]:
    inner, _ = _without_none(kind)
    if not _is_class(inner):
        for part in get_args(inner):
            yield from _constructors(part, tagged=get_origin(inner) in {Union, UnionType})
        return
    items = [f"'{inner.__name__}'"] if tagged else []
    for name, (field, default) in _columns(inner).items():
        yield from _constructors(field)
        items.append(_item(f"t.{name}", field, default))
    yield f"local function {inner.__name__}(t) return {{{', '.join(items)}}} end"


def _item(value: str, kind: Any, default: Any) -> str:
    inner, optional = _without_none(kind)
    if inner is float:
        value = f"{value} and tostring({value})"  # Redis cuts a number's fraction off
    # A nil would end the list there; false is answered as nothing.
    return f"{value} or false" if optional or inner is bool or default is not MISSING else value


def _reader(kind: Any) -> Callable[[Any], Any]:
    inner, optional = _without_none(kind)
    read = _inner_reader(inner)
    return (lambda value: None if value is None else read(value)) if optional else read


def _inner_reader(kind: Any) -> Callable[[Any], Any]:
    if kind in READERS:
        return READERS[kind]
    origin = get_origin(kind)
    if origin in {Union, UnionType}:
        readers = {part.__name__.encode(): _class_reader(part) for part in get_args(kind)}
        return lambda value: readers[value[0]](value[1:])
    if origin in {list, Sequence}:
        read = _reader(get_args(kind)[0])
        return lambda value: [read(item) for item in value]
    if _is_class(kind):
        return _class_reader(kind)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return lambda value: kind(value.decode())
    raise TypeError(f"no script can answer with {kind}")


def _class_reader(kind: Any) -> Callable[[Any], Any]:
    columns = [(name, _field_reader(field, default)) for name, (field, default) in _columns(kind).items()]
    return lambda value: kind(**{name: read(item) for (name, read), item in zip(columns, value, strict=True)})


def _field_reader(kind: Any, default: Any) -> Callable[[Any], Any]:
    read = _reader(kind)
    return read if default is MISSING else lambda value: default if value is None else read(value)


READERS: dict[Any, Callable[[Any], Any]] = {
    NoneType: lambda _value: None,
    bytes: lambda value: value,
    str: bytes.decode,
    Foreign: lambda value: value.decode(errors="replace"),
    int: int,
    float: float,
    bool: bool,
    timedelta: lambda value: timedelta(milliseconds=float(value)),
    datetime: at,
}


def constants(values: Mapping[str, Any]) -> str:
    """Write locals with these values: texts, numbers, durations (in ms), and lists, sets and tables of them."""
    return "\n".join(f"local {name} = {literal(value)}" for name, value in values.items())


def literal(value: Any) -> str:
    """Write a value as Lua."""
    match value:
        case str():
            return f"'{value}'"
        case timedelta():
            return str(ms(value))
        case Mapping():
            return "{" + ", ".join(f"[{literal(key)}] = {literal(item)}" for key, item in value.items()) + "}"
        case set() | frozenset():
            return "{" + ", ".join(f"[{literal(item)}] = true" for item in sorted(value)) + "}"
        case list() | tuple():
            return "{" + ", ".join(map(literal, value)) + "}"
    return str(value)
