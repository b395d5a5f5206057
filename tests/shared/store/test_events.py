"""A job's events: what the record keeps of them, what the stream does, and how both are one list."""

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tandem.shared.jobs.events import Event, Extent, Kind
from tandem.shared.jobs.model import Usage
from tandem.shared.jobs.retry import HandBack, RetryIn
from tandem.shared.store import commands, events, leases
from tandem.shared.store.executor import Book
from tandem.shared.store.keys import Key
from tandem.shared.store.leases import Lease
from tests.support.jobs import FAILURE, NOTHING, TASKS, TTL, as_before, both, claim_one, fail, finish, put
from tests.support.keyspace.problems import assert_keyspace

DELTA: tuple[Kind, dict[str, Any]] = (Kind.DELTA, {"text": "é"})
PROGRESS: tuple[Kind, dict[str, Any]] = (Kind.PROGRESS, {"done": 1, "total": 2, "message": ""})


def kept(book: Book, job_id: str) -> list[Event]:
    return book.run(events.read(job_id, after=0, count=10_000))


def told(book: Book, job_id: str) -> list[tuple[int, str, str]]:
    """The events without their times."""
    return [(event.seq, event.kind, event.data.partition(',"at"')[0]) for event in kept(book, job_id)]


def has_stream(book: Book, job_id: str) -> bool:
    return bool(book.client.exists(Key.EVENTS + job_id))


def record_fields(book: Book, job_id: str) -> list[str]:
    client: Any = book.client
    names = [name.decode() for name in client.hkeys(Key.JOB + job_id)]
    return sorted(name for name in names if name.startswith("e") and name[1:].isdigit())


def hand_back(book: Book, lease: Lease) -> None:
    assert book.run(leases.give_up(lease, HandBack(NOTHING), usage=Usage(), ttl=TTL))


@both
def test_a_job_with_neither_deltas_nor_progress_has_no_stream(book: Book, queue: str) -> None:
    job_id = put(book, TASKS[queue])
    hand_back(book, claim_one(book, queue))
    finish(book, claim_one(book, queue))
    assert [event.seq for event in kept(book, job_id)] == list(range(1, 9))
    assert record_fields(book, job_id) == ["e1", "e2", "e4", "e5"], "the end is told by other fields"
    assert not has_stream(book, job_id)
    assert_keyspace(book.client)


def test_a_transition_is_written_with_the_record_and_told_once(book: Book) -> None:
    """What one costs: no stream, one message, no command of its own for its number."""
    client: Any = book.client
    client.config_resetstat()
    put(book)
    finish(book, claim_one(book))
    calls = {name: stats["calls"] for name, stats in client.info("commandstats").items()}
    assert calls["cmdstat_publish"] == 3
    assert "cmdstat_xadd" not in calls


# --- of two versions


class Life:
    """A job whose steps are drawn; before each, `upgrade` may change the version that it is left to."""

    def __init__(self, book: Book, queue: str, seed: int, upgrade: Callable[[Book, str], None]) -> None:
        self._book, self._queue = book, queue
        self._random = random.Random(seed)  # noqa: S311
        self._upgrade = upgrade
        self.id = put(book, TASKS[queue])

    def live(self) -> None:
        for _ in range(self._random.randint(1, 5)):
            lease = self._run()
            self._step(partial(hand_back, self._book, lease))
        self._step(partial(finish, self._book, self._run()))

    def _run(self) -> Lease:
        self._upgrade(self._book, self.id)
        lease = claim_one(self._book, self._queue)
        for _ in range(self._random.randint(0, 4)):
            burst = [self._random.choice([DELTA, PROGRESS]) for _ in range(self._random.randint(1, 3))]
            self._step(partial(self._append, lease, burst))
        return lease

    def _append(self, lease: Lease, burst: list[tuple[Kind, dict[str, Any]]]) -> None:
        assert self._book.run(events.append(lease, burst))

    def _step(self, do: Callable[[], object]) -> None:
        self._upgrade(self._book, self.id)
        do()


def never(_book: Book, _job_id: str) -> None:
    """A job of this version alone."""


def by_chance(seed: int) -> Callable[[Book, str], None]:
    """Now this version's processes work on the job, now those of the version before."""
    chance = random.Random(seed)  # noqa: S311

    def upgrade(book: Book, job_id: str) -> None:
        client: Any = book.client
        if chance.random() < 0.5:
            client.hset(Key.JOB + job_id, "events", "record")
        else:
            client.hdel(Key.JOB + job_id, "events")

    return upgrade


@both
@pytest.mark.parametrize("seed", range(8))
def test_both_versions_tell_the_same_whoever_did_which_step(book: Book, queue: str, seed: int) -> None:
    shown = []
    for upgrade in (never, as_before, by_chance(seed)):
        life = Life(book, queue, seed, upgrade)
        life.live()
        shown.append(told(book, life.id))
        assert [seq for seq, *_ in shown[-1]] == list(range(1, len(shown[-1]) + 1))
        assert shown[-1][-1][1:] == ("end", "{}")
        assert_keyspace(book.client)
    assert shown[0] == shown[1] == shown[2]


@pytest.mark.parametrize("upgrade", [never, as_before, by_chance(1)])
def test_any_page_after_any_event_is_a_part_of_the_list(book: Book, upgrade: Callable[[Book, str], None]) -> None:
    life = Life(book, "llm", 5, upgrade)
    life.live()
    whole = kept(book, life.id)
    for after in range(len(whole) + 1):
        for count in (1, 2, 3, 500):
            assert book.run(events.read(life.id, after=after, count=count)) == whole[after : after + count]


def test_a_job_of_the_version_before_is_told_to_its_gateways(book: Book) -> None:
    """They read the stream alone, and pass on what is published as it is."""
    client: Any = book.client
    job_id = put(book)
    as_before(book, job_id)
    with client.pubsub() as pubsub:
        pubsub.subscribe(events.channel(job_id))
        hand_back(book, claim_one(book))
        finish(book, claim_one(book))
        heard = [message.split(b" ", 2) for message in _messages(pubsub, 7)]
    stream = client.xrange(Key.EVENTS + job_id)
    assert [[seq.split(b"-")[0], *pair] for seq, fields in stream[1:] for pair in fields.items()] == heard
    assert [int(seq.split(b"-")[0]) for seq, _ in stream] == list(range(1, 9))
    assert not record_fields(book, job_id)


def test_a_gateway_of_the_version_before_passes_over_what_it_does_not_know(book: Book) -> None:
    """It takes a message for an event that it has had; an `end` wakes who waits there for the job."""
    client: Any = book.client
    job_id = put(book)
    with client.pubsub() as pubsub:
        pubsub.subscribe(events.channel(job_id))
        hand_back(book, claim_one(book))
        finish(book, claim_one(book))
        heard = [message.decode().split(" ", 2) for message in _messages(pubsub, 4)]
    assert [(int(seq), Kind(kind)) for seq, kind, _ in heard] == [(0, Kind.STATUS)] * 3 + [(0, Kind.END)]


def _messages(pubsub: Any, many: int) -> list[bytes]:
    said = (message["data"] for message in pubsub.listen() if message["type"] == "message")
    return [next(said) for _ in range(many)]


# --- what is bounded, forgotten, spoilt


@both
def test_of_a_job_that_is_handed_back_for_ever_the_last_events_are_kept(book: Book, queue: str) -> None:
    job_id = put(book, TASKS[queue])
    most = 0
    for _ in range(200):
        hand_back(book, claim_one(book, queue))
        most = max(most, len(record_fields(book, job_id)))
    finish(book, claim_one(book, queue))
    assert most <= 160
    shown = kept(book, job_id)
    assert len(shown) >= 75, "those of 50 transitions"
    assert [event.seq for event in shown] == list(range(606 - len(shown), 606))


@pytest.mark.parametrize("version", [never, as_before])
def test_a_retry_forgets_what_was_and_goes_on_counting(book: Book, version: Callable[[Book, str], None]) -> None:
    job_id = put(book)
    lease = claim_one(book)
    book.run(events.append(lease, [DELTA]))
    book.run(leases.give_up(lease, RetryIn(NOTHING, FAILURE), usage=Usage(), ttl=TTL))
    fail(book, claim_one(book))
    version(book, job_id)
    last = kept(book, job_id)[-1].seq
    book.run(commands.retry(job_id))
    assert told(book, job_id) == [(last + 1, "status", '{"status":"queued","attempt":0')]
    assert not has_stream(book, job_id)
    finish(book, claim_one(book))
    assert [event.seq for event in kept(book, job_id)] == list(range(last + 1, last + 6))
    assert not has_stream(book, job_id)


def test_a_spoilt_transition_is_left_out_and_a_spoilt_number_begins_again(book: Book) -> None:
    client: Any = book.client
    job_id = put(book)
    lease = claim_one(book)
    client.hset(Key.JOB + job_id, "e1", "\x00 x")
    client.hset(Key.JOB + job_id, "e2x", "queued 1 1")
    assert [event.seq for event in kept(book, job_id)] == [2, 3]
    client.hset(Key.JOB + job_id, "seq", "x")
    assert book.run(events.extent(job_id)) == Extent(0, finished=False)
    finish(book, lease)
    assert [(seq, kind) for seq, kind, _ in told(book, job_id)] == [(1, "status"), (2, "end")]
