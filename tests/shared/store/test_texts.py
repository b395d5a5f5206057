"""A job's long texts stand apart from its record, which stays small, and live exactly as long as it."""

import json
from datetime import timedelta
from typing import Any

import pytest

from tandem.shared.dispatch import submission
from tandem.shared.errors import UnreadableRecord
from tandem.shared.jobs import texts
from tandem.shared.jobs.model import Status
from tandem.shared.jobs.submission import Idempotency, Options, Stored
from tandem.shared.store import commands, deliveries, events, leases, listing, maintenance
from tandem.shared.store.deliveries import Outcome, Verdict
from tandem.shared.store.executor import Book
from tandem.shared.store.keys import Key
from tandem.shared.store.leases import Lease
from tandem.shared.store.scripts import Call
from tandem.shared.store.submission import store_job
from tests.support.jobs import CATALOG, PLENTY, TTL, both, claim_one, fail, finish, get, put
from tests.support.keyspace.problems import assert_keyspace

# What each task's input may hold, and more than a record keeps.
PROSE = "The parcel came a day early and well packed. " * 40
INPUTS = {
    "llm": ("chat", {"messages": [{"role": "user", "content": PROSE}]}),
    "sync": ("email", {"to": ["a@example.org"], "subject": "Hi", "text": PROSE}),
}
RESULT = json.dumps({"text": PROSE})


def submit(book: Book, queue: str, key: Idempotency | None = None, **options: Any) -> str:
    """Store a job with a long input."""
    task, values = INPUTS[queue]
    spec = CATALOG[task]
    job = submission(spec, spec.input.model_validate(values), owner="ann", request_id="r", options=Options(**options))
    assert isinstance(book.run(store_job(job, PLENTY, key)), Stored)
    return job.id


def read_input(book: Book, job_id: str) -> Any:
    return json.loads(book.run(commands.read_input(job_id)) or b"null")


def ttls(book: Book, job_id: str) -> dict[str, int]:
    """How long the record and its texts live, in ms; -1: for ever, -2: it is not there."""
    client: Any = book.client
    return {key.name: client.pttl(key + job_id) for key in (Key.JOB, Key.PAYLOAD, Key.RESULT)}


def are_alike(lives: dict[str, int]) -> bool:
    return min(lives.values()) > 0 and max(lives.values()) - min(lives.values()) < 60_000


@both
def test_the_record_of_a_job_with_long_texts_stays_a_listpack(book: Book, queue: str) -> None:
    client: Any = book.client
    job_id = submit(book, queue)
    assert client.object("encoding", Key.JOB + job_id) == b"listpack"
    finish(book, claim_one(book, queue), RESULT)
    assert client.object("encoding", Key.JOB + job_id) == b"listpack"
    assert read_input(book, job_id) == INPUTS[queue][1]
    assert get(book, job_id).result == {"text": PROSE}
    assert are_alike(ttls(book, job_id))
    assert_keyspace(book.client)
    assert book.run(commands.erase(job_id))
    assert set(ttls(book, job_id).values()) == {-2}


@both
def test_short_texts_stay_in_the_record(book: Book, queue: str) -> None:
    """And cost no key, and no command, of their own."""
    client: Any = book.client
    job_id = put(book, "chat" if queue == "llm" else "cleanup")
    client.hset(Key.JOB + job_id, "payload", "{}")
    client.unlink(Key.PAYLOAD + job_id)
    client.hdel(Key.JOB + job_id, "payload_bytes")
    client.config_resetstat()
    finish(book, claim_one(book, queue))
    calls = client.info("commandstats")
    assert not {name for name in calls if name in {"cmdstat_persist", "cmdstat_unlink"}}
    assert not client.exists(Key.RESULT + job_id)
    assert client.hget(Key.JOB + job_id, "result") == b'{"text": "hi"}'
    assert get(book, job_id).result == {"text": "hi"}


@both
def test_a_retry_finds_the_input_that_was_to_go_with_its_job(book: Book, queue: str) -> None:
    job_id = submit(book, queue)
    fail(book, claim_one(book, queue))
    assert ttls(book, job_id)["PAYLOAD"] > 0
    book.run(commands.retry(job_id))
    assert ttls(book, job_id) == {"JOB": -1, "PAYLOAD": -1, "RESULT": -2}
    lease = claim_one(book, queue)
    assert json.loads(lease.payload) == INPUTS[queue][1]
    assert_keyspace(book.client)


@pytest.mark.parametrize("status", [Status.CANCELLED, Status.EXPIRED])
def test_a_job_that_never_ran_takes_its_input_along(book: Book, status: Status) -> None:
    job_id = submit(book, "llm")
    if status is Status.CANCELLED:
        book.run(commands.cancel(job_id, ttl=TTL))
    else:
        client: Any = book.client
        client.hset(Key.JOB + job_id, "expires_at", "1")
        book.run(leases.claim_llm(worker="w", limit=1, ttl=TTL))
    assert get(book, job_id).status is status
    lives = ttls(book, job_id)
    assert lives.pop("RESULT") == -2
    assert are_alike(lives)
    assert_keyspace(book.client)


@both
def test_texts_wait_for_the_webhook_as_the_record_does(book: Book, queue: str) -> None:
    job_id = submit(book, queue, webhook_url="https://example.org/")
    finish(book, claim_one(book, queue), RESULT)
    assert set(ttls(book, job_id).values()) == {-1}
    assert_keyspace(book.client)
    due = deliveries.claim(limit=1, lease=timedelta(seconds=30), places=10)
    [delivery] = book.run(due).deliveries
    book.run(deliveries.settle(delivery, Verdict(Outcome.DELIVERED), body=""))
    assert are_alike(ttls(book, job_id))
    assert_keyspace(book.client)


def test_texts_live_as_long_as_the_idempotency_key_leads_to_them(book: Book) -> None:
    job_id = submit(book, "llm", Idempotency("k" * 64, "f", TTL * 7))
    finish(book, claim_one(book), RESULT)
    lives = ttls(book, job_id)
    assert are_alike(lives)
    assert min(lives.values()) > TTL.total_seconds() * 6000


@both
def test_a_job_whose_input_is_gone_fails_alone(book: Book, queue: str) -> None:
    client: Any = book.client
    ids = [submit(book, queue) for _ in range(3)]
    client.delete(Key.PAYLOAD + ids[0])
    client.delete(Key.PAYLOAD + ids[1])
    client.lpush(Key.PAYLOAD + ids[1], "no text")
    assert claim_one(book, queue).id == ids[2]
    for job_id in ids[:2]:
        job = get(book, job_id)
        assert (job.status, (job.error or {})["type"]) == (Status.FAILED, "unreadable_record")
        assert book.run(commands.read_input(job_id)) is None


def test_a_listing_counts_a_result_as_it_is_read(book: Book) -> None:
    job_id = submit(book, "llm")
    finish(book, claim_one(book), RESULT)
    size = len(RESULT)
    for most, is_there in ((size - 1, False), (size, True)):
        job = book.run(commands.fetch_bounded(job_id, most=most))
        assert job
        assert (job.result_json is not None, job.result_omitted, job.result_bytes) == (is_there, not is_there, size)


def test_a_result_that_somebody_deleted_is_omitted(book: Book) -> None:
    client: Any = book.client
    job_id = submit(book, "llm")
    finish(book, claim_one(book), RESULT)
    client.delete(Key.RESULT + job_id)
    job = get(book, job_id)
    assert (job.status, job.result, job.result_omitted) == (Status.SUCCEEDED, None, True)


@pytest.mark.parametrize("tidy", [maintenance.trim_indexes(ttl=TTL * 0), listing.trim(None, start=0, dry_run=False)])
def test_texts_whose_record_is_gone_follow_it(book: Book, tidy: Call[Any]) -> None:
    """A version that does not know them gives them no TTL, and does not erase them."""
    client: Any = book.client
    kept, lost, ended = (submit(book, "llm") for _ in range(3))
    finish(book, claim_one(book), RESULT)
    client.persist(Key.PAYLOAD + kept)
    client.delete(Key.JOB + lost)
    finish(book, claim_one(book), RESULT)
    client.delete(Key.JOB + ended)
    book.run(tidy)
    texts_left = {key.decode() for pattern in (Key.PAYLOAD, Key.RESULT) for key in client.scan_iter(f"{pattern}*")}
    assert texts_left == {Key.PAYLOAD + kept, Key.RESULT + kept}


def test_an_id_that_plain_rq_uses_again_gets_new_texts(book: Book) -> None:
    client: Any = book.client

    def claimed() -> Lease:
        [lease] = book.run(leases.claim_sync(worker="w", ttl=TTL, queues=("x",))).leases
        return lease

    def adopt(payload: str) -> bool:
        client.hset("rq:job:own", "status", "queued")
        return book.run(
            commands.adopt(
                "own",
                queue="sync",
                task="f",
                payload=payload,
                max_attempts=1,
                native="rq",
                priority="normal",
                origin="x",
            )
        )

    assert adopt(json.dumps({"function": "f", "args": [PROSE]}))
    finish(book, claimed(), RESULT)
    assert are_alike(ttls(book, "own"))
    assert adopt("{}")
    assert claimed().payload == "{}"
    assert set(ttls(book, "own").values()) == {-1, -2}


def test_arqs_own_clients_read_the_result_of_their_jobs(book: Book) -> None:
    client: Any = book.client
    client.set("arq:job:own", '{"t": 1, "f": "chat", "a": [], "k": {}, "et": 1}')
    client.zadd("arq:queue", {"own": 1})
    payload = json.dumps(INPUTS["llm"][1])
    assert book.run(
        commands.adopt(
            "own", queue="llm", task="chat", payload=payload, max_attempts=1, native="arq", priority="normal"
        )
    )
    lease = claim_one(book)
    assert lease.payload == payload
    finish(book, lease, RESULT)
    assert json.loads(client.get("arq:result:own"))["r"] == {"text": PROSE}
    assert get(book, "own").result == {"text": PROSE}


SPOILT = {
    "a mark alone": b"\x01",
    "no frame": b"\x01{}",
    "not UTF-8": b"\xff\xfe",
    "a frame of another length": texts.pack("a" * 5000).kept,
    "half a frame": texts.pack(RESULT).kept[:40],
}


@both
@pytest.mark.parametrize("spoilt", SPOILT)
def test_a_spoilt_input_fails_its_own_job(book: Book, queue: str, spoilt: str) -> None:
    client: Any = book.client
    ids = [submit(book, queue) for _ in range(2)]
    client.set(Key.PAYLOAD + ids[0], SPOILT[spoilt])
    spoilt_one, good = claim_one(book, queue), claim_one(book, queue)
    assert (bool(spoilt_one.problem), good.problem) == (True, "")
    assert json.loads(good.payload) == INPUTS[queue][1]


@pytest.mark.parametrize("spoilt", [name for name in SPOILT if name != "not UTF-8"])
def test_a_spoilt_result_makes_its_own_job_unreadable(book: Book, spoilt: str) -> None:
    client: Any = book.client
    job_id = submit(book, "llm")
    finish(book, claim_one(book), RESULT)
    client.set(Key.RESULT + job_id, SPOILT[spoilt])
    with pytest.raises(UnreadableRecord) as caught:
        get(book, job_id)
    assert caught.value.owner == "ann"
    client.set(Key.PAYLOAD + job_id, SPOILT[spoilt])
    with pytest.raises(UnreadableRecord):
        book.run(commands.read_input(job_id))
    shown = book.run(commands.fetch_bounded(job_id, most=0))
    assert shown
    assert (shown.status, shown.result_omitted) == (Status.SUCCEEDED, True)


# --- jobs of the version before, which kept everything in the record


def as_before(book: Book, job_id: str) -> None:
    """Write a waiting job's record as the version before did, field by field."""
    client: Any = book.client
    f = {name.decode(): value for name, value in client.hgetall(Key.JOB + job_id).items()}
    created = f["created_at"]
    common = ("id", "queue", "task", "owner", "max_attempts", "request_id", "status", "priority", "attempt")
    record = {name: f[name] for name in (*common, "created_at", "events", "seq")}
    record |= {"payload": book.run(commands.read_input(job_id)), "ready_at": created, "e1": b"queued 0 " + created}
    client.delete(Key.JOB + job_id, Key.PAYLOAD + job_id)
    client.hset(Key.JOB + job_id, mapping=record)


@both
def test_a_job_of_the_version_before_is_run_and_shown(book: Book, queue: str) -> None:
    job_id = submit(book, queue)
    new = book.run(events.read(job_id, after=0))
    as_before(book, job_id)
    assert book.run(events.read(job_id, after=0)) == new
    assert read_input(book, job_id) == INPUTS[queue][1]
    lease = claim_one(book, queue)
    assert json.loads(lease.payload) == INPUTS[queue][1]
    finish(book, lease, RESULT)
    job = get(book, job_id)
    assert (job.status, job.result) == (Status.SUCCEEDED, {"text": PROSE})
    assert [event.seq for event in book.run(events.read(job_id, after=0))] == [1, 2, 3, 4, 5]
    assert book.run(listing.page(listing.Filter(), limit=10)).ids == [job_id]
    assert_keyspace(book.client)


@both
def test_a_job_that_the_version_before_has_finished_is_shown(book: Book, queue: str) -> None:
    client: Any = book.client
    job_id = submit(book, queue)
    as_before(book, job_id)
    finish(book, claim_one(book, queue), RESULT)
    new = book.run(events.read(job_id, after=0))
    ended = client.hget(Key.JOB + job_id, "finished_at").decode()
    client.delete(Key.RESULT + job_id)
    client.hdel(Key.JOB + job_id, "result_bytes")
    client.hset(Key.JOB + job_id, mapping={"result": RESULT, "e4": f"succeeded 1 {ended}"})
    assert get(book, job_id).result == {"text": PROSE}
    assert book.run(events.read(job_id, after=0)) == new
    job = book.run(commands.fetch_bounded(job_id, most=len(RESULT) - 1))
    assert job
    assert job.result_omitted
