"""The key-space check: every key is a documented one and has an owner or a TTL, queues and counters tell the truth.

It reads the whole server, for tests and fault runs. On a platform that works meanwhile it reads several moments at
once: ask it again until it is content (`until(lambda: not problems(client))`).
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from tandem.shared.jobs.model import FINAL
from tests.support.keyspace import concurrency
from tests.support.keyspace.concurrency import ASIDE, compare
from tests.support.keyspace.patterns import Life, find

ARQ_QUEUES = {
    "high": "arq:queue:high",
    "normal": "arq:queue",
    "low": "arq:queue:low",
    "idle": "arq:queue:idle",
}
RQ_QUEUES = {"high": "sync-high", "normal": "sync", "low": "sync-low", "idle": "sync-idle"}
SYNC_LANE = "~sync"
RQ_REGISTRIES = ("finished", "failed", "canceled")
WAITING = ("queued", "scheduled")
RARE = ("scheduled", "running", "failed", "cancelled", "expired")
FIELDS = (
    *("status", "queue", "owner", "priority", "token", "expires_at", "origin", "crashes", "front", "keep_until"),
    *("native", "counted", "payload_bytes", "result_bytes"),
)
TEXTS = ("payload", "result")
KNOWN = {*WAITING, "running", *FINAL}
STEP = 1000

Record = dict[str, str]


def assert_keyspace(client: Any) -> None:
    """Fail with the list of all that is wrong in the key space."""
    found = problems(client)
    assert not found, "\n".join(["the key space is not in order:", *found[:50]])


def problems(client: Any) -> list[str]:
    """List what is wrong in the key space."""
    space = Space(client)
    return [
        *_keys(space),
        *_texts(space),
        *_entries(space),
        *_unfinished(space),
        *_counters(space),
        *_workers(space),
        *concurrency.problems(space),
    ]


class Space:
    """What is in the server: names, types and times to live of all keys, and all job records."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.names = sorted({key.decode() for key in client.scan_iter(count=STEP)})
        self.types = dict(zip(self.names, (kind.decode() for kind in self._ask("TYPE", self.names)), strict=True))
        self.ttls = dict(zip(self.names, self._ask("PTTL", self.names), strict=True))
        keys = [name for name in self.names if name.startswith("tandem:job:")]
        self.records: dict[str, Record] = {}
        for key, values in zip(keys, self._ask("HMGET", keys, *FIELDS), strict=True):
            fields = {field: value.decode() for field, value in zip(FIELDS, values, strict=True) if value is not None}
            if fields:
                self.records[key.removeprefix("tandem:job:")] = fields

    def _ask(self, command: str, keys: Sequence[str], *arguments: str) -> list[Any]:
        answers: list[Any] = []
        for start in range(0, len(keys), STEP):
            pipeline = self._client.pipeline(transaction=False)
            for key in keys[start : start + STEP]:
                pipeline.execute_command(command, key, *arguments)
            answers += pipeline.execute()
        return answers

    def status(self, job_id: str) -> str | None:
        return self.records.get(job_id, {}).get("status")

    def of(self, pool: str, *statuses: str) -> set[str]:
        """Give the ids of a pool's jobs in these states."""
        return {id_ for id_, job in self.records.items() if job["queue"] == pool and job["status"] in statuses}

    def scores(self, key: str) -> dict[str, float]:
        return {member.decode(): score for member, score in self._client.zrange(key, 0, -1, withscores=True)}

    def items(self, key: str) -> list[str]:
        return [item.decode() for item in self._client.lrange(key, 0, -1)]

    def members(self, key: str) -> set[str]:
        return {member.decode() for member in self._client.smembers(key)}

    def fields(self, key: str) -> dict[str, str]:
        return {field.decode(): value.decode() for field, value in self._client.hgetall(key).items()}

    def numbers(self, key: str) -> dict[str, int]:
        return {field.decode(): int(value) for field, value in self._client.hgetall(key).items()}

    def named(self, prefix: str) -> list[str]:
        return [name for name in self.names if name.startswith(prefix)]


def _keys(space: Space) -> Iterator[str]:
    """Each key is a documented one, of its type, and something lets it live."""
    listed = _listed(space)
    for name in space.names:
        if space.ttls[name] == -2:  # it is gone
            continue
        if not (found := find(name)):
            yield f"{name}: no documented pattern"
            continue
        pattern, job_id = found
        if space.types[name] not in {pattern.kind, "none"}:
            yield f"{name}: is a {space.types[name]}, not a {pattern.kind}"
        if why := _lifeless(space, name, pattern.life, job_id, listed):
            yield f"{name}: {why}"


def _lifeless(space: Space, name: str, life: Life, job_id: str | None, listed: set[str]) -> str:
    """Say why nothing lets this key live, or why it may go too early."""
    status, mortal = space.status(job_id or ""), space.ttls[name] >= 0
    match life:
        case Life.TTL:
            return "" if mortal else "has no time to live"
        case Life.ALWAYS | Life.DELIVERY:
            return "has a time to live" if mortal else ""
        case Life.JOB if status is None:
            return "its job has no record"
        case Life.LISTED if status is None:
            return "" if mortal or job_id in listed else "its job has no record, and no queue names it"
    ends = status in FINAL and not _has_to_be_told(space, name, job_id)
    if mortal and not ends:
        return f"has a time to live, but its job is {status}"
    return "its job is finished, but it has no time to live" if ends and not mortal else ""


def _has_to_be_told(space: Space, name: str, job_id: str | None) -> bool:
    """Say whether this is the record, or a text, of a job whose webhook is neither delivered nor given up."""
    kinds = ("job", *TEXTS)
    return name in {f"tandem:{kind}:{job_id}" for kind in kinds} and "keep_until" in space.records.get(job_id or "", {})


def _texts(space: Space) -> Iterator[str]:
    """A text that is too long for its record has a key of its own, and no other has one."""
    for kind in TEXTS:
        named = {name.removeprefix(f"tandem:{kind}:") for name in space.named(f"tandem:{kind}:")}
        yield from compare(
            f"tandem:{kind}:", named, {id_ for id_, job in space.records.items() if f"{kind}_bytes" in job}
        )


def _listed(space: Space) -> set[str]:
    """Give the ids in the engines' queues and registries, also those that came through plain arq or RQ."""
    ids = {id_ for key in ARQ_QUEUES.values() for id_ in space.scores(key)}
    ids |= {member.partition(" ")[2] for member in space.scores("tandem:adopting")}
    for name in space.named("rq:queue:"):
        ids |= set(space.items(name))
    for registry in ("scheduled", *RQ_REGISTRIES):
        ids |= {id_ for name in space.named(f"rq:{registry}:") for id_ in space.scores(name)}
    return ids


def _entries(space: Space) -> Iterator[str]:
    """What an index or a registry names is there, and in the state that it says."""
    owners = space.members("tandem:owners")
    for index in ["tandem:jobs", *(f"tandem:jobs:{owner}" for owner in sorted(owners))]:
        owner = index.removeprefix("tandem:jobs").removeprefix(":")
        own = {id_ for id_, job in space.records.items() if owner in {"", job["owner"]}}
        yield from compare(index, set(space.scores(index)), own)
    for status in RARE:
        having = {id_ for id_, job in space.records.items() if job["status"] == status}
        yield from compare(f"tandem:status:{status}", set(space.scores(f"tandem:status:{status}")), having)
    for pool in ("llm", "sync"):
        yield from compare(
            f"tandem:failed:{pool}", set(space.scores(f"tandem:failed:{pool}")), space.of(pool, "failed")
        )
    yield from compare("tandem:leases:llm", set(space.scores("tandem:leases:llm")), space.of("llm", "running"))
    expiring = {id_ for id_, job in space.records.items() if "expires_at" in job and job["status"] in WAITING}
    first = set(space.scores("tandem:expiring"))
    # One that has begun can't expire any more; it leaves the set when it begins.
    yield from (f"tandem:expiring: names {id_}, which is {space.status(id_)}" for id_ in sorted(first - expiring))
    yield from _deliveries(space)
    yield from _locks(space)
    for registry in RQ_REGISTRIES:
        for name in space.named(f"rq:{registry}:"):
            gone = [id_ for id_ in space.scores(name) if f"rq:job:{id_}" not in space.types]
            yield from (f"{name}: names {id_}, which is not there" for id_ in gone)


def _locks(space: Space) -> Iterator[str]:
    """Each lock is held by a run."""
    for name in space.named("tandem:lock:"):
        holder = space.fields(name)
        if space.records.get(holder.get("id", ""), {}).get("token", "") != holder.get("token"):
            yield f"{name}: no run holds it"


def _deliveries(space: Space) -> Iterator[str]:
    """Each delivery stands in the queue and in the set of its owner's host; owners and hosts stand in their lines."""
    deliveries = {name.removeprefix("tandem:delivery:") for name in space.named("tandem:delivery:")}
    yield from compare("arq:queue:webhooks", set(space.scores("arq:queue:webhooks")), deliveries)
    due = space.named("tandem:webhooks:due:")
    yield from compare("tandem:webhooks:due:", {id_ for name in due for id_ in space.scores(name)}, deliveries)
    lanes = {name.removeprefix("tandem:webhooks:due:") for name in due}
    hosts = {f"{_owner(name)}:{host}" for name in space.named("tandem:webhooks:hosts:") for host in space.scores(name)}
    yield from compare("tandem:webhooks:hosts:", hosts, lanes)
    owners = {lane.partition(":")[0] for lane in lanes}
    yield from compare("tandem:webhooks:owners", set(space.scores("tandem:webhooks:owners")), owners)


def _owner(name: str) -> str:
    return name.rpartition(":")[2]


def _unfinished(space: Space) -> Iterator[str]:
    """Each unfinished job stands in exactly one place of its engine, and nothing else does."""
    foreign = {id_ for id_ in _listed(space) if id_ not in space.records}
    for priority, key in ARQ_QUEUES.items():
        own = {id_ for id_ in space.of("llm", *WAITING, "running") if space.records[id_]["priority"] == priority}
        # One of plain arq stands there until it ends: arq's client looks for it.
        shown = own - {id_ for id_ in space.of("llm", "running") if space.records[id_].get("native") != "arq"}
        yield from compare(key, set(space.scores(key)) - foreign, shown)
    yield from _lanes(space)
    names = {
        name.split(":")[2]
        for prefix in ("rq:queue:", "rq:scheduled:", "rq:wip:", "tandem:waiting:")
        for name in space.named(prefix)
    }
    for name in sorted(names | set(RQ_QUEUES.values())):
        own = {id_ for id_ in space.of("sync", *WAITING, "running") if _rq_queue(space.records[id_]) == name}
        queued, waits = space.items(f"rq:queue:{name}"), space.scores(f"rq:scheduled:{name}")
        running = [member.rpartition(":")[0] for member in space.scores(f"rq:wip:{name}")]
        yield from (f"rq:queue:{name}: names {id_} {n} times" for id_, n in Counter(queued).items() if n > 1)
        yield from compare(f"rq:queue:{name}", set(queued) - foreign, set())
        shown = set(space.scores(f"tandem:waiting:{name}"))
        yield from compare(f"tandem:waiting:{name}", shown, own & space.of("sync", "queued"))
        yield from compare(f"rq:scheduled:{name}", set(waits) - foreign, own & space.of("sync", "scheduled"))
        yield from compare(f"rq:wip:{name}", set(running), own & space.of("sync", "running"))


def _lanes(space: Space) -> Iterator[str]:
    """Each waiting job stands in one place: a lane, or among the scheduled ones or the suspects."""
    named = space.named("tandem:lane:jobs:")
    ours = Counter(id_ for name in named if name.endswith(SYNC_LANE) for id_ in space.scores(name))
    yield from (f"the sync lane: names {id_} {n} times" for id_, n in ours.items() if n > 1)
    yield from compare("the sync lane", set(ours), space.of("sync", "queued"))
    names = [name for name in named if not name.endswith(SYNC_LANE)]
    lanes = Counter(id_ for name in names for id_ in space.scores(name))
    looked_at = {*space.scores("tandem:lanes"), *space.scores("tandem:lanes:idle")}
    looked_at |= set(concurrency.lanes_of_tasks(space))
    taking_turns = {name.removeprefix("tandem:lane:tenants:") for name in space.named("tandem:lane:tenants:")}
    tags = {name: space.scores(f"tandem:lane:tenants:{name}").values() for name in taking_turns}
    taking_turns -= {name for name in taking_turns if min(tags[name], default=ASIDE) >= ASIDE}  # or gone by now
    unseen = {name for name in taking_turns if not name.endswith(SYNC_LANE)} - looked_at
    yield from (f"tandem:lane:tenants:{name}: no claim looks there" for name in sorted(unseen))
    later, suspects = space.scores("tandem:later:llm"), space.scores("tandem:suspects:llm")
    places = lanes + Counter([*later, *suspects])
    yield from (f"lanes: name {id_} {n} times" for id_, n in places.items() if n > 1)
    yield from compare("lanes", {id_ for id_ in places if space.status(id_) in KNOWN}, space.of("llm", *WAITING))
    newer = {id_ for id_ in later if space.status(id_) not in KNOWN}  # set aside for a worker that knows its status
    parked = set(later) & space.of("llm", "queued")  # by their model, in a lane that others share
    yield from compare("tandem:later:llm", set(later) - newer - parked, space.of("llm", "scheduled") - set(suspects))


def _rq_queue(job: Record) -> str:
    return job.get("origin") or RQ_QUEUES[job["priority"]]


def _counters(space: Space) -> Iterator[str]:
    """Counters equal a recount."""
    for pool in ("llm", "sync"):
        jobs = [job for job in space.records.values() if job["queue"] == pool and job["status"] not in FINAL]
        counts = {name: n for name, n in space.numbers(f"tandem:queue:{pool}").items() if n}
        if counts != (true := dict(Counter(job["status"] for job in jobs))):
            yield f"tandem:queue:{pool}: says {counts}, a recount {true}"
        shares = space.numbers(f"tandem:share:{pool}")
        if shares != (true := dict(Counter(job["owner"] for job in jobs if job["status"] in WAITING))):
            yield f"tandem:share:{pool}: says {shares}, a recount {true}"


def _workers(space: Space) -> Iterator[str]:
    """Lists of workers name those that live."""
    for name in ("rq:workers", *space.named("rq:workers:")):
        yield from (f"{name}: names {key}, which is gone" for key in space.members(name) if key not in space.types)
