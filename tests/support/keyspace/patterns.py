"""Every key that the platform may keep in Redis: its pattern, its type, and what lets it live.

docs/reference/job-book.md has the same table for people; tests/test_keyspace.py compares the two.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property


class Life(StrEnum):
    """What lets a key live."""

    ALWAYS = "it is one of a fixed number"
    TTL = "its time to live"
    JOB = "its job's record, and a time to live when that job is finished"
    DELIVERY = "the queue of deliveries, which names it"
    LISTED = "its job's record, a time to live, or the engine's queue that names it"


@dataclass(frozen=True)
class Pattern:
    """`text` is the key with `<name>` for what varies; `<id>` is a job's id."""

    text: str
    kind: str
    life: Life = Life.ALWAYS

    @cached_property
    def regex(self) -> re.Pattern[str]:
        parts = re.split(r"<(\w+)>", self.text)
        return re.compile("".join(VARIES[part] if i % 2 else re.escape(part) for i, part in enumerate(parts)))


VARIES = {
    "id": "(?P<id>.+)",
    "queue": "[A-Za-z0-9_-]+",
    "owner": "[A-Za-z0-9][A-Za-z0-9_-]*",
    "n": r"\d+",
    "hash": "[0-9a-f]{64}",
    "name": ".+",
    "lane": ".*",
}

PATTERNS = [
    Pattern("tandem:job:<id>", "hash", Life.JOB),
    Pattern("tandem:payload:<id>", "string", Life.JOB),
    Pattern("tandem:result:<id>", "string", Life.JOB),
    Pattern("tandem:events:<id>", "stream", Life.JOB),
    Pattern("tandem:jobs", "zset"),
    Pattern("tandem:jobs:<owner>", "zset"),
    Pattern("tandem:status:<name>", "zset"),
    Pattern("tandem:indexed", "hash"),
    Pattern("tandem:owners", "set"),
    Pattern("tandem:queue:<queue>", "hash"),
    Pattern("tandem:share:<queue>", "hash"),
    Pattern("tandem:failed:<queue>", "zset"),
    Pattern("tandem:rate:<queue>:<n>", "string", Life.TTL),
    Pattern("tandem:rpm:<owner>", "string", Life.TTL),
    Pattern("tandem:idempotency:<hash>", "hash", Life.TTL),
    Pattern("tandem:expiring", "zset"),
    Pattern("tandem:bell:<queue>", "list"),
    Pattern("tandem:turn:<queue>", "string"),
    Pattern("tandem:fence", "string"),
    Pattern("tandem:leases:llm", "zset"),
    Pattern("tandem:suspects:llm", "zset"),
    Pattern("tandem:paused", "set"),
    Pattern("tandem:worker:<id>", "hash", Life.TTL),
    Pattern("tandem:workers:<queue>", "zset"),
    Pattern("tandem:metrics", "hash"),
    Pattern("tandem:seen", "string"),
    Pattern("tandem:outage", "string", Life.TTL),
    Pattern("tandem:unknown:<id>", "string", Life.TTL),
    Pattern("tandem:asked:<id>", "string", Life.TTL),
    Pattern("tandem:trimmed", "string", Life.TTL),
    Pattern("tandem:swept", "string", Life.TTL),
    Pattern("tandem:lock:<name>", "hash"),
    Pattern("tandem:schedule:<name>", "string", Life.TTL),
    Pattern("tandem:sent:<id>", "string", Life.JOB),
    Pattern("tandem:erased:<id>", "hash", Life.TTL),
    Pattern("tandem:adopting", "zset"),
    Pattern("tandem:origins", "set"),
    Pattern("tandem:delivery:<id>", "hash", Life.DELIVERY),
    Pattern("tandem:webhooks:owners", "zset"),
    Pattern("tandem:webhooks:hosts:<owner>", "zset", Life.DELIVERY),
    Pattern("tandem:webhooks:due:<owner>:<name>", "zset", Life.DELIVERY),
    Pattern("tandem:webhooks:tries:<name>", "zset", Life.TTL),
    Pattern("tandem:enlisted", "string", Life.TTL),
    Pattern("tandem:later:llm", "zset"),
    Pattern("tandem:lanes", "zset"),
    Pattern("tandem:lanes:idle", "zset"),
    Pattern("tandem:lane:jobs:<name>", "zset"),
    Pattern("tandem:lane:first:<lane>", "zset"),
    Pattern("tandem:lane:tenants:<lane>", "zset"),
    Pattern("tandem:lane:turns:<lane>", "hash"),
    Pattern("tandem:lane:time", "hash"),
    Pattern("tandem:lane:tasks", "zset"),
    Pattern("tandem:fairness", "hash"),
    Pattern("tandem:fairness:told", "hash"),
    Pattern("tandem:running:<name>", "zset"),
    Pattern("tandem:aside", "zset"),
    Pattern("tandem:aside:<name>", "set"),
    Pattern("tandem:recounted", "string", Life.TTL),
    Pattern("tandem:waiting:<name>", "zset"),
    Pattern("tandem:durations", "hash"),
    Pattern("tandem:limit:level:<name>", "hash", Life.TTL),
    Pattern("tandem:limit:slots:<name>", "zset"),
    Pattern("tandem:limit:line:<name>", "zset", Life.TTL),
    Pattern("tandem:limit:waiters", "zset", Life.TTL),
    Pattern("tandem:limit:stalled:<name>", "zset", Life.TTL),
    Pattern("tandem:limit:reservations", "hash"),
    Pattern("tandem:limit:checks", "zset"),
    Pattern("tandem:limit:time", "hash"),
    Pattern("tandem:limit:models", "string", Life.TTL),
    Pattern("tandem:limit:parks", "zset"),
    Pattern("tandem:limit:probes:<name>", "set"),
    Pattern("tandem:limit:failing:<name>", "set", Life.TTL),
    Pattern("tandem:park:<name>", "hash"),
    Pattern("arq:queue:webhooks", "zset"),
    Pattern("arq:queue:high", "zset"),
    Pattern("arq:queue", "zset"),
    Pattern("arq:queue:low", "zset"),
    Pattern("arq:queue:idle", "zset"),
    Pattern("arq:job:<id>", "string", Life.LISTED),
    Pattern("arq:result:<id>", "string", Life.TTL),
    Pattern("arq:in-progress:<id>", "string", Life.TTL),
    Pattern("arq:abort", "zset"),
    Pattern("arq:queue:health-check", "string", Life.TTL),
    Pattern("rq:queues", "set"),
    Pattern("rq:queue:<name>", "list"),
    Pattern("rq:scheduled:<name>", "zset"),
    Pattern("rq:wip:<name>", "zset"),
    Pattern("rq:finished:<name>", "zset"),
    Pattern("rq:failed:<name>", "zset"),
    Pattern("rq:canceled:<name>", "zset"),
    Pattern("rq:job:<id>", "hash", Life.LISTED),
    Pattern("rq:results:<id>", "stream", Life.LISTED),
    Pattern("rq:worker:<name>", "hash", Life.TTL),
    Pattern("rq:workers", "set"),
    Pattern("rq:workers:<queue>", "set"),
]


def find(key: str) -> tuple[Pattern, str | None] | None:
    """Find a key's pattern and the job that it belongs to, if any."""
    for pattern in PATTERNS:
        if match := pattern.regex.fullmatch(key):
            return pattern, match.groupdict().get("id")
    return None
