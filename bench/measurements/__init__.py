"""What is measured, a module each with `measure(effort) -> Result`; and how long each may take."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True)
class Measurement:
    """A module of this folder; after `deadline` it is given up, and the next one begins."""

    module: str
    what: str
    deadline: timedelta


def _measurement(module: str, minutes: float, what: str) -> Measurement:
    return Measurement(module, what, timedelta(minutes=minutes))


MEASUREMENTS = {
    "pickup": _measurement("pickup", 6, "how soon an idle worker begins a job, beside every peer"),
    "drain": _measurement("drain", 15, "no-op jobs a second with one worker and with four, beside every peer"),
    "latency": _measurement("latency", 3, "from a POST to its result, in both pools, beside FastAPI with arq and RQ"),
    "first-token": _measurement("first_token", 2, "from a POST to the first token at a watcher, beside a direct call"),
    "mixed": _measurement("mixed", 3, "each pool's latency while the other one is loaded too, beside itself alone"),
    "payloads": _measurement("payloads", 4, "throughput and pick-up of jobs with 64 KB of text each"),
    "backlog": _measurement("backlog", 5, "throughput with a long queue; requests of an idle worker"),
    "calls": _measurement("calls", 3, "2,000 calls of a provider, beside a bare asyncio.gather"),
    "memory": _measurement("memory", 4, "memory of idle parts, and of fifty waiting calls in every way to run them"),
    "trips": _measurement("trips", 3, "requests to Redis for a job and for a submission"),
    "redis-cost": _measurement("redis_cost", 4, "Redis's CPU time, commands and bytes a job, beside every peer"),
    "limiter": _measurement("limiter", 6, "how much of a provider's limit four processes use, by its own log"),
    "fairness": _measurement("fairness", 8, "pick-up of one tenant's jobs with 100,000 of another one waiting"),
    "shares": _measurement("shares", 3, "who gets how much of a limit: three tenants with jobs of unequal sizes"),
    "priorities": _measurement("priorities", 4, "a mixed load at two limits: their use, and how soon high starts"),
    "outage": _measurement("outage", 4, "a provider that is killed and comes back: what is lost, how soon all runs"),
    "new-limits": _measurement("new_limits", 3, "limits raised and lowered under load: how soon they are in force"),
    "invoice": _measurement("invoice", 4, "invoices a second, a process each, beside RQ"),
    "isolation": _measurement("isolation", 1, "what a job that dies, or takes too much memory, does to its worker"),
    "gateway": _measurement("gateway", 4, "submissions a second of one process, beside an endpoint of ten lines"),
    "scripts": _measurement("scripts", 40, "the longest call to Redis with a million jobs waiting in each pool"),
    "waiters": _measurement("waiters", 3, "a thousand long-pollers and a thousand watchers on one gateway"),
}
