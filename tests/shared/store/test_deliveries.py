"""Deliveries take turns: by owner and host, with few tries at once, in as many commands whoever else waits."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from tandem.shared.store import commands, deliveries
from tandem.shared.store.deliveries import Delivery, Outcome, Verdict
from tandem.shared.store.executor import Book
from tandem.shared.store.maintenance import enlist_deliveries
from tandem.shared.store.queues import QueueName, look, pause
from tandem.shared.store.scripts import TRIES_OF_HOST, TRIES_OF_OWNER
from tests.support.jobs import TTL, get, tick
from tests.support.keyspace.problems import assert_keyspace
from tests.support.processes import until
from tests.support.servers.webhooks import ended

LEASE = timedelta(seconds=30)
PLACES = 40
DELIVERED = Verdict(Outcome.DELIVERED)
LATER = Verdict(Outcome.PENDING, 500, "HTTP 500", timedelta(hours=1))


def claim(book: Book, limit: int = PLACES, lease: timedelta = LEASE) -> list[Delivery]:
    return book.run(deliveries.claim(limit=limit, lease=lease, places=PLACES)).deliveries


def settle(book: Book, claimed: Sequence[Delivery], verdict: Verdict = DELIVERED) -> None:
    for delivery in claimed:
        assert book.run(deliveries.settle(delivery, verdict, body="{}"))


def owner(book: Book, delivery: Delivery) -> str:
    return get(book, delivery.job).owner


def hooks(owner: str, host: str, count: int) -> list[tuple[str, str]]:
    return [(owner, f"https://{host}/hook")] * count


def test_owners_and_their_hosts_take_turns(book: Book) -> None:
    ended(book, [*hooks("ann", "a.example", 6), *hooks("ann", "b.example", 3), *hooks("bob", "a.example", 4)])
    got: list[tuple[str, str]] = []
    while claimed := claim(book, limit=1):
        settle(book, claimed)
        got.append((owner(book, claimed[0]), claimed[0].url))
    assert len(got) == 13
    assert all(first[0] != second[0] for first, second in pairwise(got[:8])), "ann, bob, ann, bob …"
    own = [url for name, url in got if name == "ann"]
    assert all(first != second for first, second in pairwise(own[:6])), "a, b, a, b …"
    assert_keyspace(book.client)


def test_few_tries_at_once_while_others_wait(book: Book) -> None:
    ended(book, [pair for n in range(5) for pair in hooks("ann", f"host-{n}.example", 10)])
    ended(book, hooks("bob", "host-0.example", 10))
    claimed = claim(book)
    tries = Counter((owner(book, delivery), delivery.url) for delivery in claimed)
    by_owner = Counter(owner(book, delivery) for delivery in claimed)
    assert by_owner == {"ann": TRIES_OF_OWNER, "bob": TRIES_OF_HOST}
    assert max(tries.values()) <= TRIES_OF_HOST
    assert claim(book) == []
    settle(book, [delivery for delivery in claimed if owner(book, delivery) == "bob"][:1])
    assert [owner(book, delivery) for delivery in claim(book)] == ["bob"], "his place was free"


def test_who_is_alone_has_more_tries_and_leaves_room(book: Book) -> None:
    ended(book, [*hooks("ann", "a.example", 100), *hooks("ann", "b.example", 100)])
    assert Counter(delivery.url for delivery in claim(book)) == {
        "https://a.example/hook": PLACES // 4,
        "https://b.example/hook": PLACES // 4,
    }
    assert claim(book) == [], "half of the places stay free"
    ended(book, hooks("bob", "a.example", 1))
    assert [owner(book, delivery) for delivery in claim(book)] == ["bob"]


def test_a_host_is_its_name_and_port_in_any_spelling(book: Book) -> None:
    ended(book, hooks("bob", "b.example", 1))
    same = ["a.example/hook", "A.EXAMPLE/hook", "user:secret@a.example/", "a.example?b=c://d@e", "a.example#f"]
    ended(book, [("ann", f"https://{rest}") for rest in same] + hooks("ann", "a.example:8443", 1))
    client: Any = book.client
    assert client.zrange("tandem:webhooks:hosts:ann", 0, -1) == [b"a.example", b"a.example:8443"]


def test_places_of_a_dead_process_come_back(book: Book) -> None:
    ended(book, [*hooks("ann", "a.example", 10), *hooks("bob", "b.example", 1)])
    lost = claim(book, lease=timedelta(seconds=1))
    assert len(lost) == TRIES_OF_HOST + 1
    assert claim(book) == []
    places = until(lambda: claim(book), what="the end of the leases")
    assert Counter(owner(book, delivery) for delivery in places) == {"ann": TRIES_OF_HOST, "bob": 1}
    settle(book, places)
    tried = [delivery.id for delivery in places]
    while claimed := claim(book):
        settle(book, claimed)
        tried += [delivery.id for delivery in claimed]
    assert len(tried) == 11, "each once, and those of the dead process again"
    assert {delivery.id for delivery in lost} <= set(tried)
    assert_keyspace(book.client)
    assert book.run(look(QueueName.WEBHOOKS)).waiting == 0


def test_the_next_turn_is_told(book: Book) -> None:
    ended(book, hooks("ann", "a.example", 1))
    [delivery] = claim(book)
    settle(book, [delivery], LATER)
    due = book.run(deliveries.claim(limit=1, lease=LEASE))
    assert due.deliveries == []
    assert due.next_due is not None
    assert timedelta(minutes=59) < due.next_due <= timedelta(hours=1)
    assert_keyspace(book.client)


def test_sets_of_who_has_nothing_left_are_gone(book: Book) -> None:
    ended(book, [*hooks("ann", "a.example", 3), *hooks("bob", "b.example", 3)])
    while claimed := claim(book):
        settle(book, claimed)
    assert list(book.client.scan_iter("tandem:webhooks:*")) == []


def test_a_paused_queue_counts_and_gives_nothing(book: Book) -> None:
    ended(book, [*hooks("ann", "a.example", 3), *hooks("bob", "b.example", 3)])
    book.run(pause(QueueName.WEBHOOKS, paused=True))
    assert claim(book) == []
    state = book.run(look(QueueName.WEBHOOKS))
    assert (state.waiting, state.scheduled, state.paused) == (6, 0, True)
    book.run(pause(QueueName.WEBHOOKS, paused=False))
    assert len(claim(book)) == 6
    state = book.run(look(QueueName.WEBHOOKS))
    assert (state.waiting, state.scheduled, state.paused) == (0, 6, False)


def test_deliveries_of_an_older_version_take_turns_too(book: Book) -> None:
    """It knows the queue by due time and the records, and nothing of turns."""
    client: Any = book.client
    ended(book, [*hooks("ann", "a.example", 250), *hooks("bob", "b.example", 1)])
    client.delete(*client.scan_iter("tandem:webhooks:*"))
    assert claim(book) == []
    assert [book.run(enlist_deliveries()) for _ in range(4)] == [100, 100, 51, 0], "100 at most in one step"
    claimed = claim(book)
    assert Counter(owner(book, delivery) for delivery in claimed) == {"ann": TRIES_OF_HOST, "bob": 1}
    assert_keyspace(client)


def test_what_an_older_version_has_claimed_or_settled_is_left_to_it(book: Book) -> None:
    client: Any = book.client
    settled, claimed = ended(book, [*hooks("ann", "a.example", 1), *hooks("bob", "a.example", 1)])
    client.zrem("arq:queue:webhooks", f"{settled}-1")
    client.delete(f"tandem:delivery:{settled}-1")
    [seconds, _] = client.time()
    client.zadd("arq:queue:webhooks", {f"{claimed}-1": (seconds + 30) * 1000})
    due = book.run(deliveries.claim(limit=10, lease=LEASE))
    assert due.deliveries == []
    assert due.next_due is not None
    assert timedelta(seconds=28) < due.next_due <= timedelta(seconds=30)
    assert_keyspace(client)


def test_a_clock_that_goes_back_puts_no_delivery_off(book: Book) -> None:
    """Redis's clock was an hour ahead when it came: the clock's step brings all its scores along."""
    client: Any = book.client
    ended(book, hooks("ann", "a.example", 1))
    for key in ["arq:queue:webhooks", *client.scan_iter("tandem:webhooks:*")]:
        for member in client.zrange(key, 0, -1):
            client.zincrby(key, 3_600_000, member)
    assert claim(book) == []
    [(member, score)] = client.zrange("arq:queue:webhooks", 0, -1, withscores=True)
    client.zadd("arq:queue:webhooks", {member: score - 3_600_000})
    book.run(enlist_deliveries())
    assert len(claim(book)) == 1


def test_a_record_has_no_ttl_until_its_webhook_is_over(book: Book) -> None:
    """A volatile-* policy evicts what has one, and what a webhook tells is in the record."""
    client: Any = book.client
    jobs = ended(book, [*hooks("ann", "a.example", 2), *hooks("bob", "a.example", 1)])
    claimed = {delivery.job: delivery for delivery in claim(book)}
    for job_id, verdict in zip(jobs, (DELIVERED, Verdict(Outcome.FAILED), LATER), strict=True):
        assert client.pttl(f"tandem:job:{job_id}") == -1
        settle(book, [claimed[job_id]], verdict)
    ttls = [client.pttl(f"tandem:job:{job_id}") / 1000 for job_id in jobs]
    assert all(0 < ttl <= TTL.total_seconds() for ttl in ttls[:2])
    assert client.pttl(f"tandem:job:{jobs[2]}") == -1
    assert_keyspace(client)


def test_a_record_whose_delivery_is_lost_has_an_end(book: Book) -> None:
    client: Any = book.client
    [job_id] = ended(book, hooks("ann", "a.example", 1))
    tick(book)
    assert client.pttl(f"tandem:job:{job_id}") == -1
    client.delete(f"tandem:delivery:{job_id}-1")
    tick(book)
    assert 0 < client.pttl(f"tandem:job:{job_id}") <= TTL.total_seconds() * 1000
    assert claim(book) == []
    assert_keyspace(client)


def test_a_job_that_runs_again_gets_no_ttl_by_its_first_webhook(book: Book) -> None:
    [job_id] = ended(book, hooks("ann", "a.example", 1))
    claimed = claim(book)
    assert book.run(commands.retry(job_id))
    settle(book, claimed)
    tick(book)
    assert book.client.pttl(f"tandem:job:{job_id}") == -1
    assert_keyspace(book.client)


@pytest.mark.parametrize("idle", [False, True], ids=["all wait", "nobody else is due"])
def test_a_claim_costs_the_same_however_many_owners_there_are(book: Book, *, idle: bool) -> None:
    cost = {}
    for owners in (10, 1000):
        book.client.flushall()
        ended(book, [pair for n in range(owners) for pair in hooks(f"owner-{n}", "a.example", 1)])
        if idle:
            while claimed := claim(book):
                settle(book, claimed, LATER)
            ended(book, hooks("ann", "a.example", 5))
        before = _commands(book)
        assert len(claim(book, limit=5)) == 5
        cost[owners] = _commands(book) - before
    assert cost[1000] == cost[10]


def _commands(book: Book) -> int:
    """How many commands the server has run, those of scripts too."""
    stats: Any = book.client.info("commandstats")
    return sum(stat["calls"] for stat in stats.values())
