"""What is written once: no positions, no names and no keys in scripts; no keys outside of the rooms that own them."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tandem.shared.jobs.model import Status
from tandem.shared.maintenance.scripts import DECLARING
from tandem.shared.store.keys import ArqKey, Key, LimitKey, RqKey
from tandem.shared.store.scripts import SCRIPTS, Ending
from tandem.shared.tasks.spec import Priority, Queue
from tests.support.processes import ROOT

ROOMS = ("api", "llm_worker", "sync_worker", "shared", "deploy")
LUA = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.lua"))
LIBRARY = ROOT / "shared/store/lua/lib"
OWNERS = (
    "shared/store/",
    "llm_worker/compat_arq/",
    "sync_worker/compat_rq/",
)
KEY = re.compile(r"(?<![\w/.-])(?:tandem|arq|rq):(?:[a-z{<-]|$)")
NAMES = {*Queue, *Priority, *Status, *Ending, "webhooks", "pending"}
LOCAL = re.compile(r"^local (?:function )?([\w, ]+)", re.MULTILINE)
# Fields of hashes that are called as something else is.
FIELDS = {
    "queues/queues.lua": {"running"},
    "queues/explain.lua": {"throttled"},
    "jobs/renew.lua": {"running"},
    "jobs/finish.lua": {"throttled"},
    "jobs/retry.lua": {"throttled"},
    "lib/records.lua": {"throttled"},
    "lib/transitions.lua": {"throttled"},
}
each_lua = pytest.mark.parametrize("path", LUA, ids=lambda path: str(path.relative_to(ROOT)))


def code_of(path: Path) -> str:
    return re.sub(r"--.*", "", path.read_text())


def test_there_are_scripts() -> None:
    assert DECLARING
    files = {path.stem for path in LUA if path.is_relative_to(ROOT / "shared/store/lua") and path.parent != LIBRARY}
    assert files == set(SCRIPTS)


@each_lua
def test_a_script_counts_no_positions(path: Path) -> None:
    assert not re.search(r"ARGV|\bKEYS\b", code_of(path))


@each_lua
def test_names_and_keys_come_from_python(path: Path) -> None:
    code = code_of(path)
    assert not KEY.findall(code)
    found = {text for text in re.findall(r"'([^']*)'", code) if text in NAMES}
    assert found <= FIELDS.get("/".join(path.parts[-2:]), set())


def test_no_name_has_two_meanings() -> None:
    """A local of a script or of the library that has the name of another one would hide it."""
    constants = [name.name for kind in (Key, LimitKey, ArqKey, RqKey, Queue, Priority, Status, Ending) for name in kind]
    assert [name for name, count in Counter(constants).items() if count > 1] == []
    for script in SCRIPTS.values():
        top = [name.strip() for names in LOCAL.findall(script.source) for name in names.split(",")]
        assert [name for name, count in Counter(top).items() if count > 1 and name != "_"] == []


STATE = re.compile(r"^local ([\w, ]+?) *(?:=.*)?$", re.MULTILINE)  # no function
ASSIGNED = r"^ +(?:[\w, ]+, )?{}(?:, [\w, ]+|\[.*\]|\.\w+)* = "


@pytest.mark.parametrize("path", sorted(LIBRARY.glob("*.lua")), ids=lambda path: path.stem)
def test_what_a_call_remembers_is_forgotten_when_the_next_begins(path: Path) -> None:
    """Functions outlive their calls, and so do the locals of the library."""
    code = code_of(path)
    begins = " ".join(re.findall(r"^each_call\((.*)\)$", code, re.MULTILINE))
    for names in STATE.findall(code):
        for name in names.split(", "):
            if re.search(ASSIGNED.format(name), code, re.MULTILINE):
                assert re.search(rf"\b{name}\b.* = ", begins), name


def test_each_call_begins_by_forgetting() -> None:
    """But of scripts that have nothing to forget."""
    for script in SCRIPTS.values():
        body = script.source.split("local function call(KEYS, ARGV)\n")[1]
        begins = ("begin_call()\n", "if KEYS ~= GROUPED then\nbegin_call()\n")  # a group has begun already
        assert body.startswith(begins) is ("local function begin_call" in script.source)


def literals(path: Path) -> Iterator[str]:
    """All texts in a file that are no docstrings."""
    tree = ast.parse(path.read_text())
    holders = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docs = {id(node.body[0].value) for node in ast.walk(tree) if isinstance(node, holders) and _has_docstring(node)}  # type: ignore[attr-defined]
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes) and id(node) not in docs:
            yield node.value if isinstance(node.value, str) else node.value.decode(errors="replace")


def _has_docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return bool(node.body) and isinstance(node.body[0], ast.Expr)


def test_keys_are_written_in_the_rooms_that_own_them() -> None:
    found = {
        str(path.relative_to(ROOT))
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
        if any(KEY.search(text) for text in literals(path))
    }
    assert "shared/store/keys.py" in found
    assert [path for path in sorted(found) if not path.startswith(OWNERS)] == []
