"""Filled queues that are kept: filling one takes longer than draining it, and every turn needs the same one."""

from dataclasses import dataclass, field
from urllib.parse import urlsplit

import redis

from bench.contenders.contender import Contender
from bench.contenders.trial import Trial
from bench.lab.lab import Lab
from bench.lab.processes import until

PATIENCE = 180.0  # seconds


@dataclass
class Pantry:
    """A server a kind of queue, filled when it is first asked for. What a lab's server gets is a replica of it."""

    lab: Lab
    jobs: dict[bool, int]  # by `alone`: everybody who is compared has as many
    _kept: dict[str, str] = field(default_factory=dict)

    def fill(self, contender: Contender) -> int:
        """Put a full queue into the lab's server, in place of all that it holds; gives the number of jobs."""
        jobs = self.jobs[contender.alone]
        shelf = f"{contender.module}-{contender.kind}"
        if shelf not in self._kept:
            self._kept[shelf] = self._prepare(contender, jobs)
        with redis.Redis.from_url(self.lab.redis_url) as server:
            parts = urlsplit(self._kept[shelf])
            server.replicaof(parts.hostname, parts.port)
            until(lambda: server.info("replication").get("master_link_status") == "up", what="a full queue")
            server.replicaof("NO", "ONE")
            until(lambda: _idle(server.info("persistence")), what="the append-only file of a full queue")
        return jobs

    def _prepare(self, contender: Contender, jobs: int) -> str:
        made = Lab(self.lab.folder, self.lab.stack)
        url = made.server()
        with redis.Redis.from_url(url) as server:
            server.config_set("repl-diskless-sync-delay", 0)  # no second replica comes
        Trial(made, contender, f"fill-{contender.module}-{contender.kind}").run("fill", jobs=jobs, patience=PATIENCE)
        return url


def _idle(persistence: dict[str, int]) -> bool:
    return not (persistence["aof_rewrite_in_progress"] or persistence["aof_rewrite_scheduled"])
