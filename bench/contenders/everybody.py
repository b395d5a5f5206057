"""Who is measured, and with which settings."""

from bench.contenders.contender import CORES, Contender

OURS_LLM = Contender(
    name="Tandem LLM pool",
    module="ours",
    settings="the defaults: 100 jobs at once",
    peers=False,
    part="tandem.llm_worker",
    judged=True,
)
OURS_SYNC = Contender(
    name="Tandem sync pool",
    module="ours",
    settings="the defaults: a fork a job",
    peers=False,
    part="tandem.sync_worker",
    kind="sync",
    judged=True,
    alone=True,
)
ARQ = Contender(
    name="arq",
    module="arq_stock",
    settings="max_jobs=100, uvloop, the rest as it comes (poll_delay=0.5)",
    peers=False,
    judged=True,
)
ARQ_TUNED = Contender(
    name="arq, poll 10 ms",
    module="arq_stock",
    settings="as arq, and poll_delay=0.01",
    peers=False,
    tuned=True,
)
SAQ = Contender(name="SAQ", module="saq_app", settings="concurrency=100, uvloop")
TASKIQ = Contender(
    name="Taskiq",
    module="taskiq_app",
    settings="Redis stream broker (the one that acknowledges), result backend, max_async_tasks=100, uvloop",
    judged=True,
)
STREAQ = Contender(name="streaQ", module="streaq_app", settings="concurrency=100, uvloop")
CELERY = Contender(
    name="Celery prefork",
    module="celery_app",
    settings=f"Redis broker and result backend, the rest as it comes (a child a core in each worker: -c {CORES})",
    concurrency=CORES,
    pool="prefork",
)
CELERY_TUNED = Contender(
    name="Celery prefork, tuned",
    module="celery_app",
    settings="one child a core of all its workers together, worker_prefetch_multiplier=64, without gossip, mingle "
    "and events, as its guide to optimizing advises for short tasks",
    child_a_core=True,
    pool="prefork",
    tuned=True,
)
GEVENT = Contender(
    name="Celery gevent",
    module="celery_app",
    settings="Redis broker and result backend, -P gevent -c 100",
    pool="gevent",
)
RQ = Contender(
    name="RQ fork",
    module="rq_stock",
    settings="Worker, as it comes: a fork a job",
    peers=False,
    concurrency=1,
    judged=True,
    alone=True,
)
RQ_PRELOADED = Contender(
    name="RQ fork, preloaded",
    module="rq_stock",
    settings="Worker in a script that imports the job's function, and so WeasyPrint, before the first fork",
    peers=False,
    concurrency=1,
    tuned=True,
    judged=True,
    alone=True,
)
RQ_SIMPLE = Contender(
    name="RQ SimpleWorker",
    module="rq_stock",
    settings="no fork: no isolation",
    peers=False,
    pool="simple",
    concurrency=1,
    alone=True,
)
LLM_PEERS = (ARQ, ARQ_TUNED, SAQ, TASKIQ, STREAQ, CELERY, CELERY_TUNED, GEVENT)
SYNC_PEERS = (RQ, RQ_SIMPLE)
ASYNCIO = (OURS_LLM, *LLM_PEERS)
FORKING = (OURS_SYNC, *SYNC_PEERS)
EVERYBODY = (*ASYNCIO, *FORKING)
DESCRIBED = (*EVERYBODY, RQ_PRELOADED)


def by_name(name: str) -> Contender:
    return next(contender for contender in DESCRIBED if contender.name == name)
