"""The schedule of faults."""

import random

from tests.chaos.plan.model import SIZES, Act, Fault, Role

WARM_UP = 2.0  # seconds before the first fault

# How often, what, of which kind, at least and at most how many seconds.
FAULTS = [
    (16, Role.LLM, Act.KILL, (0.1, 1)),
    (10, Role.LLM, Act.RESTART, (0, 0.5)),
    (6, Role.LLM, Act.STOP, (8.5, 11)),  # longer than a lease
    (6, Role.LLM, Act.STOP, (0.5, 3)),
    (14, Role.SYNC, Act.KILL, (0.1, 1)),
    (8, Role.SYNC, Act.RESTART, (0, 0.5)),
    (5, Role.SYNC, Act.STOP, (8, 11)),
    (5, Role.SYNC, Act.STOP, (0.5, 3)),
    (8, Role.GATEWAY, Act.KILL, (0.1, 1)),
    (5, Role.GATEWAY, Act.RESTART, (0, 0.5)),
    (4, Role.GATEWAY, Act.STOP, (1, 5)),
    (6, Role.CLOCK, Act.KILL, (0.1, 2)),
    (3, Role.CLOCK, Act.STOP, (2, 8)),
    (5, Role.REDIS, Act.KILL, (0.1, 2)),
    (2, Role.REDIS, Act.RESTART, (0.1, 1)),
    (3, Role.REDIS, Act.STOP, (0.5, 5)),
    (6, Role.REDIS, Act.CUT, (0, 0)),
]
# These belong to any run, however short: each must be survived, and is needed to see what is broken.
ALWAYS = [
    (Role.LLM, Act.STOP, 9.0),
    (Role.SYNC, Act.KILL, 0.3),
    (Role.REDIS, Act.KILL, 0.5),
    (Role.GATEWAY, Act.KILL, 0.2),
    (Role.LLM, Act.KILL, 0.3),
    (Role.SYNC, Act.RESTART, 0.0),
    (Role.LLM, Act.RESTART, 0.0),
    (Role.SYNC, Act.STOP, 9.0),
    (Role.REDIS, Act.CUT, 0.0),
    (Role.LLM, Act.STOP, 10.0),
    (Role.CLOCK, Act.KILL, 0.2),
]


def faults_of(chance: random.Random, until: float, every: float) -> list[Fault]:
    weights = [weight for weight, *_ in FAULTS]
    sure = list(ALWAYS)
    faults, at = [], WARM_UP
    while at < until:
        if sure:
            role, act, seconds = sure.pop(0)
        else:
            [(_, role, act, (least, most))] = chance.choices(FAULTS, weights)
            seconds = chance.uniform(least, most)
        faults.append(Fault(at, role, chance.randrange(SIZES[role]), act, seconds))
        at += chance.uniform(0.4, 1.6) * every
    return faults
