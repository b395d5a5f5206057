"""The key-space check: it knows the documented keys, is content with a true book, and sees what is wrong."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from tandem.shared.jobs.model import Usage
from tandem.shared.jobs.retry import Fail
from tandem.shared.store import leases
from tandem.shared.store.executor import Book
from tandem.shared.store.keys import Key, LimitKey
from tests.support.jobs import FAILURE, TTL, claim, put, succeed
from tests.support.keyspace.patterns import PATTERNS
from tests.support.keyspace.problems import assert_keyspace, problems
from tests.support.processes import ROOT

PAGE = (ROOT / "docs/reference/job-book.md").read_text()
CHANNELS = {"WATCH", "PARKED"}


def test_the_page_names_every_key() -> None:
    table = PAGE.split("## Keys\n", 1)[1].strip().split("\n\n", 1)[0]
    documented: list[tuple[str, str]] = []
    for row in (line.split(" | ") for line in table.splitlines()[2:]):
        names, kinds = re.findall(r"`([^`]+)`", row[0]), row[1].replace("sorted set", "zset").split(", ")
        kinds = [re.sub(r"(?<!es)s$", "", kind) for kind in kinds]
        documented += zip(names, kinds if len(kinds) == len(names) else kinds * len(names), strict=True)
    keys = [(name, kind) for name, kind in documented if kind != "channel"]
    assert sorted(keys) == sorted((pattern.text, pattern.kind) for pattern in PATTERNS)


def test_the_page_names_every_script() -> None:
    table = PAGE.split("## Scripts", 1)[1].split("| script |", 1)[1].split("\n\n", 1)[0]
    documented = [name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split(" | ")[0])]
    scripts = [path for path in (ROOT / "shared/store/lua").glob("*/*.lua") if path.parent.name != "lib"]
    assert sorted(documented) == sorted(path.stem for path in scripts)


def test_every_key_of_the_scripts_has_a_pattern() -> None:
    stems = {re.sub(r"<.*", "", pattern.text) for pattern in PATTERNS}
    keys = {key.name: key.value for kind in (Key, LimitKey) for key in kind}
    assert {key for name, key in keys.items() if name not in CHANNELS} <= stems


@pytest.fixture
def busy(book: Book) -> Any:
    """A server with jobs in every state."""
    for task, queue in (("chat", "llm"), ("report", "sync")):
        put(book, task)
        [good] = claim(book, queue)
        put(book, task)
        [bad] = claim(book, queue)
        put(book, task)
        claim(book, queue)
        put(book, task)
        succeed(book, good)
        book.run(leases.give_up(bad, Fail(FAILURE), usage=Usage(), ttl=TTL))
    return book.client


def waiting(client: Any) -> bytes:
    found: bytes = client.zrange("tandem:waiting:sync", 0, 0)[0]
    return found


BREAKS: dict[str, tuple[Callable[[Any], object], str]] = {
    "an unknown key": (lambda c: c.set("tandem:surprise", 1), "tandem:surprise: no documented pattern"),
    "another type": (lambda c: (c.delete("tandem:fence"), c.lpush("tandem:fence", 1)), "tandem:fence: is a list"),
    "no time to live": (lambda c: c.set("tandem:unknown:x", "1"), "tandem:unknown:x: has no time to live"),
    "a mark of nobody": (lambda c: c.set("tandem:sent:x", "[]"), "tandem:sent:x: its job has no record"),
    "a lock of nobody": (
        lambda c: c.hset("tandem:lock:x", mapping={"id": "x", "token": "1-a"}),
        "lock:x: no run holds it",
    ),
    "events of nobody": (lambda c: c.xadd("tandem:events:x", {"a": "b"}), "tandem:events:x: its job has no record"),
    "a hash of nobody": (lambda c: c.hset("rq:job:x", "a", "b"), "rq:job:x: its job has no record, and no queue"),
    "a mortal queue": (lambda c: c.expire("arq:queue", 99), "arq:queue: has a time to live"),
    "a mortal job": (lambda c: c.expire(b"rq:job:" + waiting(c), 99), "but its job is queued"),
    "a lost entry": (lambda c: c.zpopmin("tandem:waiting:sync"), "tandem:waiting:sync: does not name"),
    "a lost place": (lambda c: c.zpopmin("tandem:lane:jobs:normal:ann:~sync"), "the sync lane: does not name"),
    "a lost lane": (lambda c: c.delete("tandem:lanes"), "no claim looks there"),
    "a double place": (lambda c: c.zadd("tandem:lane:jobs:front:ann:~sync", {waiting(c): 1}), "2 times"),
    "an entry of RQ's": (lambda c: c.rpush("rq:queue:sync", waiting(c)), "rq:queue:sync: names"),
    "a dead lease": (lambda c: c.zadd("tandem:leases:llm", {"x": 1}), "leases:llm: names x"),
    "a lost lease": (lambda c: c.delete("rq:wip:sync"), "rq:wip:sync: does not name"),
    "a lost id": (lambda c: c.delete("arq:queue"), "arq:queue: does not name"),
    "a wrong counter": (lambda c: c.hincrby("tandem:queue:llm", "queued", 1), "tandem:queue:llm: says"),
    "a wrong share": (lambda c: c.hset("tandem:share:sync", "bob", 1), "tandem:share:sync: says"),
    "a dead worker": (lambda c: c.sadd("rq:workers", "rq:worker:x"), "rq:workers: names rq:worker:x"),
    "a dead index entry": (lambda c: c.zadd("tandem:jobs", {"x": 1}), "tandem:jobs: names x"),
    "an eternal finished job": (lambda c: c.persist(_finished(c)), "no time"),
}


def _finished(client: Any) -> bytes:
    found: bytes = next(key for key in client.scan_iter("tandem:job:*") if client.hget(key, "status") == b"succeeded")
    return found


@pytest.mark.parametrize("name", BREAKS)
def test_it_sees_what_is_wrong(busy: Any, name: str) -> None:
    assert_keyspace(busy)
    change, complaint = BREAKS[name]
    change(busy)
    assert complaint in "\n".join(problems(busy))
