"""The Lua behind the job book: how a script is put together, and the names and numbers that it shares with Python."""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import wraps
from importlib.resources import files
from typing import Any, Generic, ParamSpec, TypeVar, get_type_hints

from tandem.shared.jobs import texts
from tandem.shared.jobs.model import FINAL, TRANSITIONS, WAITING, Status
from tandem.shared.limits.fairness import TASK, WEIGHT
from tandem.shared.limits.numbers import NUMBERS
from tandem.shared.store import keys
from tandem.shared.store.keys import ArqKey, Key, LimitKey, RqKey
from tandem.shared.store.signature import Answer, Arguments, constants, literal
from tandem.shared.tasks.spec import Priority, Queue

P = ParamSpec("P")
T = TypeVar("T")


class Ending(StrEnum):
    """How an attempt ended, where that is no final status of its job."""

    RETRY = "retry"
    HAND_BACK = "hand_back"
    NOT_BEGUN = "not_begun"
    TASK_UNKNOWN = "task_unknown"
    THROTTLED = "throttled"
    CRASH = "crash"
    LOSS = "loss"


WEBHOOKS = "webhooks"  # the queue of deliveries
PENDING = "pending"  # of a delivery: it is tried again
RAN = "ran"  # in arq's key of what is in progress: a cron job that is over
MAX_CRASHES = 3
SUSPECT_AFTER = MAX_CRASHES - 1
MAX_LOSSES = 6  # of a job together with its worker, in the asyncio pool of a suspect
TRIES_OF_OWNER = 8  # of webhooks at once, while others wait
TRIES_OF_HOST = 4  # of one owner's
# A dead worker's jobs start elsewhere within 10 s, also on a busy machine; and two renewals of three may go unanswered.
LEASE = timedelta(seconds=6)
RENEW_EVERY = timedelta(seconds=1)  # also how soon a cancelled job's work is stopped
GAP = timedelta(seconds=3)  # without any call of any process: Redis was away
REPRIEVE = timedelta(seconds=5)  # after a gap, for the holders of leases to come back and renew
EVENTS_KEPT = 10_000  # of a job, about; older ones are dropped
WORKER_KEPT = timedelta(seconds=15)  # after its last heartbeat
ASKED_KEPT = timedelta(hours=1)  # an outage may be long, and the claim before it unanswered
CLOCK_JUMP = timedelta(seconds=1)  # by which Redis's clock goes back; less is drift that is set right
MOST_USAGE = 10**12  # of a run: tokens or requests; a counter holds millions of those
LONGEST_DELAY = timedelta(days=366)  # of an attempt; plain RQ may ask for a year
# What few jobs are, or are for long: these have an index each. Queued and succeeded ones are found in that of all jobs.
RARE = frozenset(Status) - {Status.QUEUED, Status.SUCCEEDED}
STEP = 200  # entries that a duty of the clock, or of another round, handles at most: it must block nobody
MOVED_AT_ONCE = 20  # jobs that go elsewhere or end in one script, some 20 to 40 commands each
GROUP_CALLS = 10  # calls at most that are one request: it must block nobody
GROUP_BYTES = 200_000  # of the arguments of calls that are one request, which Redis copies; a longer call goes alone
CLAIMED_BYTES = 4_000_000  # of inputs, as they are read, in one claim, and what the last one has beyond
ADOPTED_AT_ONCE = 5  # jobs of a queue of plain RQ
PLAIN_RQ = "external "  # and the queue: who takes turns for it
UNKNOWN_DURATION = timedelta(seconds=1)  # of a run of a sync task, until one has ended
SEARCH_TIME = timedelta(milliseconds=5)  # of searches through long lists in one call
ASIDE = 2**50  # added to the tag of a tenant that stands aside: half of it is beyond what any lane's time comes to
RECOUNT = timedelta(seconds=3)  # until somebody looks whether what is counted as running does run
# Of the histograms in /metrics, in ms.
BOUNDS = (5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000)
RQ_STATUS = {
    Status.SCHEDULED: "scheduled",
    Status.QUEUED: "queued",
    Status.RUNNING: "started",
    Status.SUCCEEDED: "finished",
    Status.FAILED: "failed",
    Status.CANCELLED: "canceled",
    Status.EXPIRED: "canceled",
}
CONSTANTS = {
    **{key.name: key.value for kind in (Key, LimitKey, ArqKey, RqKey) for key in kind},
    **{name.name: name.value for kind in (Queue, Priority, Status, Ending) for name in kind},
    "WEBHOOKS": WEBHOOKS,
    "PENDING": PENDING,
    "PRIORITIES": tuple(Priority),
    "WAITING": WAITING,
    "UNFINISHED": frozenset(Status) - FINAL,
    "RARE": RARE,
    "LEGAL": TRANSITIONS,
    "ARQ_QUEUES": keys.ARQ_QUEUES,
    "RQ_NAMES": keys.RQ_NAMES,
    "RQ_REGISTRIES": keys.RQ_REGISTRIES,
    "RQ_STATUS": RQ_STATUS,
    "RAN": RAN,
    "SHORT_TEXT": texts.SHORT,
    "MAX_CRASHES": MAX_CRASHES,
    "SUSPECT_AFTER": SUSPECT_AFTER,
    "MAX_LOSSES": MAX_LOSSES,
    "TRIES_OF_OWNER": TRIES_OF_OWNER,
    "TRIES_OF_HOST": TRIES_OF_HOST,
    "EVENTS_KEPT": EVENTS_KEPT,
    "LEASE_MS": LEASE,
    "GAP_MS": GAP,
    "REPRIEVE_MS": REPRIEVE,
    "WORKER_KEPT_MS": WORKER_KEPT,
    "ASKED_KEPT_MS": ASKED_KEPT,
    "CLOCK_JUMP_MS": CLOCK_JUMP,
    "MOST_USAGE": MOST_USAGE,
    "LONGEST_DELAY_MS": LONGEST_DELAY,
    "STEP": STEP,
    "MOVED_AT_ONCE": MOVED_AT_ONCE,
    "CLAIMED_BYTES": CLAIMED_BYTES,
    "ADOPTED_AT_ONCE": ADOPTED_AT_ONCE,
    "PLAIN_RQ": PLAIN_RQ,
    "UNKNOWN_DURATION_MS": UNKNOWN_DURATION,
    "WEIGHT": WEIGHT,
    "TASK": TASK,
    "TASK_LANE": "~task ",
    "ASIDE": ASIDE,
    "RECOUNT_MS": RECOUNT,
    "SEARCH_SECONDS": SEARCH_TIME.total_seconds(),
    "BOUNDS": BOUNDS,
    **NUMBERS,
}


class Flag(StrEnum):
    """What a script may do when Redis's memory is full. What ends work has to write then, or nothing would end."""

    ALLOW_OOM = "allow-oom"
    NO_WRITES = "no-writes"  # it only reads
    NOTHING = ""  # it is refused


# Parts of `lua/lib`; each builds on those before it. What a script does not need it does not carry.
RECORDS = ("time", "records", "events")
ENGINES = (*RECORDS, "concurrency", "lanes", "arq", "rq", "engines")
DELIVERING = (*RECORDS, "webhooks")
TRANSITION = (*ENGINES, "webhooks", "durations", "transitions")
LIMITS = (*RECORDS, "rates", "parks", "lines", "reservations")
LANE_LIMITS = ("rates", "parks", "lines", "reservations", "admittance")
CLAIM_SYNC = (*TRANSITION, "task_lanes")
CLAIM_LLM = (*CLAIM_SYNC, *LANE_LIMITS)
ESTIMATES = (*ENGINES, "lookups", "places", *LANE_LIMITS, "estimates")
ADMISSION = (*ESTIMATES, "admission")


@dataclass(frozen=True)
class Call(Generic[T]):
    """One round trip: a script's or a command's name, its arguments, and how to read the answer."""

    name: str
    args: Sequence[Any]
    parse: Callable[[Any], T]
    command: bool = False


@dataclass(frozen=True)
class Script:
    """A script as a Redis function: its name, which tells versions apart, and the library that makes it, of that name.

    A function stays in Redis: the library is run once and not at each call, which would cost more than most calls do.
    `whole` is all of it for EVAL. `group` is a second function of the library, which takes several calls as one.
    """

    function: str
    source: str
    whole: str
    group: str | None = None


FUNCTIONS = "tandem_"  # what all their names begin with
TOKEN = re.compile(r"--[^\n]*|'[^']*'|\b[A-Z_]+\b")  # a comment, a text, a name in capitals

# By name. Filled at import: a script is never loaded from disk on an event loop, and a missing one fails at start.
SCRIPTS: dict[str, Script] = {}


def script(
    path: str,
    *,
    library: Sequence[str] = TRANSITION,
    flag: Flag = Flag.ALLOW_OOM,
    adds_up: bool = False,
    in_groups: bool = False,
) -> Callable[[Callable[P, T]], Callable[P, Call[T]]]:
    """Make a function the signature of `lua/<path>.lua`: calling it gives the call. See signature.py.

    `library` names the parts of `lua/lib` that come before it. `adds_up`: what it counts is written once, in the end.
    `in_groups`: calls that are sent together become one, and what all of them count is written once.
    """
    parts = (*library, "groups") if in_groups else library

    def declare(function: Callable[P, T]) -> Callable[P, Call[T]]:
        name = path.rpartition("/")[2]
        arguments, answer = Arguments(function), Answer(get_type_hints(function)["return"])
        shared = [answer.lua(), *(_read(f"lib/{part}") for part in parts)]
        begin = _begin(library, adds_up=adds_up, in_groups=in_groups)
        body = [*begin, arguments.lua(), _read(path)]
        wrapped = adds_up or in_groups
        SCRIPTS[name] = _function(name, "\n".join(shared), "\n".join(body), flag, adds_up=wrapped, in_groups=in_groups)
        read = answer.read

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> Call[T]:
            return Call(name, arguments.encode(args, kwargs), read)

        return call

    return declare


def _begin(library: Sequence[str], *, adds_up: bool, in_groups: bool) -> list[str]:
    """Write how a call begins; one in a group finds all of that begun."""
    if in_groups:
        return ["if KEYS ~= GROUPED then", "begin_call()", "begin_sums()", "end"]
    return ["begin_call()"] * bool(library) + ["begin_sums()"] * adds_up


def _function(name: str, shared: str, body: str, flag: Flag, *, adds_up: bool, in_groups: bool) -> Script:
    """Make a library of one function, or two. Its callback is what a call runs; the rest is run once."""
    callback = f"local function call(KEYS, ARGV)\n{body}\nend"
    callback += "\nlocal grouped = in_groups(call)" * in_groups + "\ncall = add_up(call)" * adds_up
    lua = _with_constants(f"{shared}\n{callback}")
    function = f"{FUNCTIONS}{name}_{hashlib.sha256(f'{flag} {lua}'.encode()).hexdigest()[:12]}"
    flags = f"{{'{flag}'}}" if flag else "{}"
    callbacks = {function: "call"} | ({f"{function}_group": "grouped"} if in_groups else {})
    register = "\n".join(
        f"redis.register_function{{function_name = '{name}', callback = {callback}, flags = {flags}}}"
        for name, callback in callbacks.items()
    )
    whole = f"#!lua flags={flag}\n{lua}\nreturn call(KEYS, ARGV)"
    source = f"#!lua name={function}\n{lua}\n{register}"
    return Script(function, source, whole, group=f"{function}_group" if in_groups else None)


def _with_constants(lua: str) -> str:
    """Put the constants in: texts and numbers in their places, tables as locals before all.

    As locals all of them would be upvalues, of which a function can have 60.
    """
    tables: dict[str, Any] = {}

    def place(token: re.Match[str]) -> str:
        value = CONSTANTS.get(token[0])
        if isinstance(value, str | int | float | timedelta):
            return literal(value)
        if value is not None:
            tables[token[0]] = value
        return token[0]

    placed = TOKEN.sub(place, lua)
    return f"{constants(tables)}\n{placed}"


def _read(path: str) -> str:
    return (files(__package__) / "lua" / f"{path}.lua").read_text()


def groups_of(calls: Sequence[Call[Any]]) -> list[list[Call[Any]]]:
    """Put neighbours of one script together, in their order: a group is one request to Redis (lua/lib/groups.lua)."""
    groups: list[list[Call[Any]]] = []
    total = 0
    for call in calls:
        size = sum(len(arg) for arg in call.args if isinstance(arg, str | bytes))
        if groups and _goes_with(groups[-1], call) and total + size <= GROUP_BYTES:
            groups[-1].append(call)
            total += size
        else:
            groups.append([call])
            total = size
    return groups


def _goes_with(group: Sequence[Call[Any]], call: Call[Any]) -> bool:
    name = call.name
    return group[0].name == name and len(group) < GROUP_CALLS and name in SCRIPTS and SCRIPTS[name].group is not None


def command_of(group: Sequence[Call[Any]]) -> list[Any]:
    """Write the command of a group of one or more."""
    call = group[0]
    if call.command:
        return [call.name, *call.args]
    script = SCRIPTS[call.name]
    if len(group) == 1:
        return ["FCALL", script.function, 0, *call.args]
    return ["FCALL", script.group, 0, *(part for call in group for part in (len(call.args), *call.args))]


def answers_of(group: Sequence[Call[Any]], answer: Any) -> Sequence[Any]:
    """Give each call of a group its answer: an error of the request is one of each."""
    if len(group) == 1:
        return [answer]
    return answer if isinstance(answer, list) else [answer for _ in group]
