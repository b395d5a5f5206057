"""The schedule of faults.

What concerns one process comes all the time, evenly to each pool: a fault that meets a pool whose last process still
starts would measure how long that takes. What concerns all of them (Redis, the network, the disk) comes in a row of
its own, one after the other.
"""

import random
from collections.abc import Iterator
from functools import partial

from tests.chaos.plan.model import SHORT, SIZES, SLOTS, Act, Fault, Role

WARM_UP = 2.0  # seconds before the first fault
# How often, what, of which kind, at least and at most how many seconds. A run of 20,000 jobs does each about so often:
# a sync worker has one job, and so gives one sample a hit; an LLM worker gives a dozen.
LLM = [
    (10, Role.LLM, Act.KILL, (0.1, 1)),
    (8, Role.LLM, Act.RESTART, (0, 0.5)),
    (7, Role.LLM, Act.STOP, (8.5, 11)),  # longer than a lease
    (3, Role.LLM, Act.STOP, (0.5, 3)),
    (8, Role.ISOLATION, Act.KILL, (0, 0)),
]
SYNC = [
    (30, Role.SYNC, Act.KILL, (0.1, 1)),
    (9, Role.SYNC, Act.RESTART, (0, 0.5)),
    (11, Role.SYNC, Act.STOP, (8, 11)),
    (3, Role.SYNC, Act.STOP, (0.5, 3)),
    (14, Role.HORSE, Act.KILL, (0, 0)),
    (5, Role.SENDER, Act.KILL, (0, 0)),
    (8, Role.SUPERVISOR, Act.KILL, (0.1, 1)),
]
OTHERS = [
    (7, Role.GATEWAY, Act.KILL, (0.1, 1)),
    (4, Role.GATEWAY, Act.RESTART, (0, 0.5)),
    (3, Role.GATEWAY, Act.STOP, (1, 5)),
    (5, Role.CLOCK, Act.KILL, (0.1, 2)),
    (3, Role.CLOCK, Act.STOP, (2, 8)),
]
SHARED = [
    (5, Role.REDIS, Act.KILL, (0.1, 2)),
    (2, Role.REDIS, Act.RESTART, (0.1, 1)),
    (3, Role.REDIS, Act.STOP, (0.5, 5)),
    (6, Role.REDIS, Act.CUT, (0, 0)),
    (1, Role.REDIS, Act.AWAY, (15, 15)),
    (2, Role.REDIS, Act.ROLLBACK, (0.1, 0.5)),
    (2, Role.REDIS, Act.FULL, (1, 4)),
    (2, Role.NETWORK, Act.PARTITION, (2, 8)),
    (2, Role.NETWORK, Act.LATENCY, (2, 6)),
    (2, Role.NETWORK, Act.CUT_ANSWERS, (1, 2)),
    (2, Role.DISK, Act.DISK_FULL, (2, 5)),
    (2, Role.REDIS, Act.JUMP, (1, 3)),
]
# These belong to any run, however short: each must be survived, and shows what is broken. The last number is the slot
# that is tried first. A suspect is there by chance only: the isolation server is left to longer runs.
ALWAYS_LLM = [
    (Role.LLM, Act.KILL, 0.3, 1),
    (Role.LLM, Act.STOP, 9.0, 0),
    (Role.LLM, Act.RESTART, 0.0, 2),
    (Role.LLM, Act.STOP, 9.0, 1),
    (Role.LLM, Act.RESTART, 0.0, 2),
]
ALWAYS_SYNC = [
    (Role.SYNC, Act.STOP, 9.0, 0),
    (Role.HORSE, Act.KILL, 0.0, 1),
    (Role.SENDER, Act.KILL, 0.0, 0),
    (Role.SYNC, Act.KILL, 0.3, 2),
    (Role.SYNC, Act.RESTART, 0.0, 1),
    (Role.SUPERVISOR, Act.KILL, 0.3, 2),
    (Role.SENDER, Act.KILL, 0.0, 0),  # the first one may meet an outage, in which no mail is marked
]
ALWAYS_OTHERS = [
    (Role.GATEWAY, Act.KILL, 0.2, 0),
    (Role.GATEWAY, Act.RESTART, 0.0, 1),
    (Role.CLOCK, Act.KILL, 0.2, 0),
]
# A rollback comes first: what was known in the second that is lost can't be held against the platform. A
# clock that jumps is left to longer runs: it takes the meaning from all times of some seconds.
ALWAYS_SHARED = [
    (Role.REDIS, Act.ROLLBACK, 0.1, 0),
    (Role.REDIS, Act.KILL, 0.3, 0),
    (Role.DISK, Act.DISK_FULL, 2.0, 0),
    (Role.NETWORK, Act.CUT_ANSWERS, 0.5, 0),
    (Role.REDIS, Act.FULL, 1.0, 0),
    (Role.NETWORK, Act.PARTITION, 1.5, 0),
    (Role.NETWORK, Act.LATENCY, 1.5, 0),
    (Role.REDIS, Act.CUT, 0.0, 0),
    (Role.REDIS, Act.AWAY, 7.0, 0),
]
# Once in a long run each of these pools loses all its processes at once; every other fault of it leaves some at work.
# Between these parts of the run, and as far as can be from what all share.
AT_ONCE = [(Role.LLM, 0.3, 0.5), (Role.SYNC, 0.6, 0.8)]
ALWAYS = [*ALWAYS_LLM, *ALWAYS_SYNC, *ALWAYS_OTHERS]
# How many seconds what concerns all takes, of those in which one process is hit.
SLOWER = 4
Choice = tuple[int, Role, Act, tuple[float, float]]
Sure = tuple[Role, Act, float, int]


def faults_of(chance: random.Random, until: float, every: float, *, shared: bool = True) -> list[Fault]:
    """Plan: `every` so many seconds a process is hit, and what all share a quarter as often, or not at all."""
    rows = [(LLM, ALWAYS_LLM), (SYNC, ALWAYS_SYNC), (OTHERS, ALWAYS_OTHERS)]
    kinds = sum(_size(cards, always) for cards, always in rows)
    of_all = _row(chance, SHARED, ALWAYS_SHARED, until, SLOWER * every) if shared else []
    faults = [*of_all]
    for cards, always in rows:
        faults += _row(chance, cards, always, until, every * kinds / _size(cards, always))
    if until > SHORT:
        for role, first, last in AT_ONCE:
            at = max(range(int(first * until), int(last * until)), key=partial(_apart, of_all))
            faults += [Fault(at, role, which, Act.KILL, 0.2, at_once=True) for which in range(SIZES[role])]
    return sorted(faults, key=lambda fault: fault.at)


def _apart(faults: list[Fault], at: float) -> float:
    return min((abs(fault.at + fault.seconds / 2 - at) - fault.seconds / 2 for fault in faults), default=0.0)


def _size(cards: list[Choice], always: list[Sure]) -> int:
    return len(always) + sum(often for often, *_ in cards)


def _row(chance: random.Random, kinds: list[Choice], always: list[Sure], until: float, every: float) -> list[Fault]:
    """Give first those that must be: if the run is short, in shorter intervals."""
    sure, drawn, faults, at = list(always), _cards(chance, kinds), [], WARM_UP
    pace = min(every, (until - WARM_UP) / len(always))
    while at < until or sure:
        if sure:
            role, act, seconds, which = sure.pop(0)
            if act is Act.AWAY and until > SHORT:
                seconds = 15.0
        else:
            role, act, (least, most) = next(drawn)
            seconds = chance.uniform(least, most)
            which = chance.randrange(SIZES.get(SLOTS.get(role, role), 1))
        faults.append(Fault(at, role, which, act, seconds))
        at += chance.uniform(0.5, 1.5) * (pace if sure else every)
    return faults


def _cards(chance: random.Random, kinds: list[Choice]) -> Iterator[tuple[Role, Act, tuple[float, float]]]:
    """Draw as from a pack of cards, which has each kind as often as it says: no seed goes without one."""
    while True:
        pack = [(role, act, seconds) for often, role, act, seconds in kinds for _ in range(often)]
        chance.shuffle(pack)
        yield from pack
