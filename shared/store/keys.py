"""The keys in Redis, each written once, here; the scripts know them by the same names.

A key that ends in `:` is followed by an id or a name. docs/reference/job-book.md says what each holds.
"""

from enum import StrEnum

from tandem.shared.jobs.model import Status
from tandem.shared.tasks.spec import Priority


class Key(StrEnum):
    """The job book's own keys."""

    JOB = "tandem:job:"
    PAYLOAD = "tandem:payload:"  # a job's input, and its result, that are too long for its record
    RESULT = "tandem:result:"
    EVENTS = "tandem:events:"  # a stream for each job that has deltas or progress
    WATCH = "tandem:watch:"  # pub/sub channel for each job
    INDEX = "tandem:jobs"
    BY_STATUS = "tandem:status:"  # an index for each status that few jobs have
    INDEXED_UP_TO = "tandem:indexed"
    OWNERS = "tandem:owners"
    COUNTS = "tandem:queue:"
    SHARES = "tandem:share:"
    RATE = "tandem:rate:"
    RPM = "tandem:rpm:"
    IDEMPOTENCY = "tandem:idempotency:"
    EXPIRING = "tandem:expiring"
    FAILURES = "tandem:failed:"
    WAKEUP = "tandem:bell:"
    TURN = "tandem:turn:"
    FENCE = "tandem:fence"
    LEASES = "tandem:leases:llm"
    SUSPECTS = "tandem:suspects:llm"
    ADOPTING = "tandem:adopting"
    LATER = "tandem:later:llm"
    LANES = "tandem:lanes"
    IDLE_LANES = "tandem:lanes:idle"
    LANE_JOBS = "tandem:lane:jobs:"
    LANE_FIRST = "tandem:lane:first:"  # of an older version: what was handed back
    LANE_TENANTS = "tandem:lane:tenants:"
    LANE_TURNS = "tandem:lane:turns:"
    LANE_TIME = "tandem:lane:time"
    LANE_TASKS = "tandem:lane:tasks"  # whose jobs wait in lanes of their own
    FAIRNESS = "tandem:fairness"  # what the config file says of tenants
    FAIRNESS_TOLD = "tandem:fairness:told"
    RUNNING_OF = "tandem:running:"  # what runs under a limit of a tenant's concurrency
    ASIDE_FOR = "tandem:aside:"  # who stands aside for such a limit
    ASIDE_LIMITS = "tandem:aside"
    RECOUNTED = "tandem:recounted"
    WAITING_IN = "tandem:waiting:"  # of the forking pool, by queue: the dashboard's list
    DURATIONS = "tandem:durations"
    ORIGINS = "tandem:origins"
    SENT = "tandem:sent:"
    ERASED = "tandem:erased:"  # jobs whose cancelled run has not said yet what it used
    LOCK = "tandem:lock:"
    SEEN = "tandem:seen"
    ASKED = "tandem:asked:"
    OUTAGE = "tandem:outage"  # the number of the last token of a lease from before Redis was away, and when it was back
    PAUSED = "tandem:paused"
    WORKER = "tandem:worker:"
    WORKERS = "tandem:workers:"
    METRICS = "tandem:metrics"
    DELIVERY = "tandem:delivery:"
    DELIVERIES = "arq:queue:webhooks"
    WEBHOOK_OWNERS = "tandem:webhooks:owners"
    WEBHOOK_HOSTS = "tandem:webhooks:hosts:"
    WEBHOOK_DUE = "tandem:webhooks:due:"
    WEBHOOK_TRIES = "tandem:webhooks:tries:"
    ENLISTED = "tandem:enlisted"
    TRIMMED = "tandem:trimmed"
    SWEPT = "tandem:swept"
    UNKNOWN = "tandem:unknown:"  # since when workers have met a job whose task they do not know
    SCHEDULE = "tandem:schedule:"  # the due time that a schedule was last served for


class LimitKey(StrEnum):
    """What is known of the providers' limits."""

    LIMIT_LEVEL = "tandem:limit:level:"
    LIMIT_HELD = "tandem:limit:slots:"
    LIMIT_LINE = "tandem:limit:line:"
    LIMIT_WAITERS = "tandem:limit:waiters"
    LIMIT_STALLED = "tandem:limit:stalled:"
    LIMIT_RESERVED = "tandem:limit:reservations"
    LIMIT_CHECKS = "tandem:limit:checks"
    LIMIT_TIME = "tandem:limit:time"
    LIMIT_MODELS = "tandem:limit:models"  # what a claim has to know of them, as the workers last said
    LIMIT_PARK = "tandem:park:"
    LIMIT_PARKS = "tandem:limit:parks"
    LIMIT_PROBES = "tandem:limit:probes:"
    LIMIT_FAILING = "tandem:limit:failing:"
    PARKED = "tandem:parked"  # pub/sub channel


class ArqKey(StrEnum):
    """arq's keys."""

    ARQ_JOB = "arq:job:"
    ARQ_RESULT = "arq:result:"
    ARQ_IN_PROGRESS = "arq:in-progress:"
    ARQ_RETRY = "arq:retry:"
    ARQ_ABORT = "arq:abort"


class RqKey(StrEnum):
    """RQ's keys."""

    RQ_QUEUES = "rq:queues"
    RQ_QUEUE = "rq:queue:"
    RQ_SCHEDULED = "rq:scheduled:"
    RQ_WIP = "rq:wip:"
    RQ_FAILED = "rq:failed:"
    RQ_JOB = "rq:job:"
    RQ_RESULTS = "rq:results:"
    RQ_WORKERS = "rq:workers"


# The queues of the engines, by priority.
ARQ_QUEUES = {
    Priority.HIGH: "arq:queue:high",
    Priority.NORMAL: "arq:queue",
    Priority.LOW: "arq:queue:low",
    Priority.IDLE: "arq:queue:idle",
}
RQ_NAMES = {
    Priority.HIGH: "sync-high",
    Priority.NORMAL: "sync",
    Priority.LOW: "sync-low",
    Priority.IDLE: "sync-idle",
}
RQ_REGISTRIES = {
    Status.SUCCEEDED: "rq:finished:",
    Status.FAILED: RqKey.RQ_FAILED,
    Status.CANCELLED: "rq:canceled:",
    Status.EXPIRED: "rq:canceled:",
}
