"""A worker of the forking pool as a process: its options, what it loads before the first fork, its exit code."""

import argparse
import gc
import logging
import os
from collections.abc import Sequence
from importlib import import_module

from redis.exceptions import RedisError

from shared import notify
from shared.binding import BindingError
from shared.lifeline import adopt
from shared.redis import client
from shared.settings import BAD_SETTING, SettingsError
from shared.start import OUTAGE, leave, prepare
from sync_worker import pdf
from sync_worker.check import check
from sync_worker.context import HANDLERS
from sync_worker.plan import CATALOG
from sync_worker.worker import SyncWorker

log = logging.getLogger("tandem.sync_worker")


BROKEN = 1


def main(pid: int) -> None:
    """Run the worker; `pid` is the process that whoever started it knows."""
    parser = argparse.ArgumentParser(prog="python -m sync_worker", description="One process of the forking pool.")
    parser.add_argument("queues", nargs="*", help="queues of plain RQ to serve too; default: TANDEM_RQ_QUEUES")
    parser.add_argument("-b", "--burst", action="store_true", help="end when no job is left")
    parser.add_argument("-n", "--name", help="the worker's name; default: a random one")
    parser.add_argument("--max-jobs", type=int, metavar="N", help="end after N jobs")
    parser.add_argument("--max-idle-time", type=int, metavar="S", help="end after S seconds without a job")
    parser.add_argument("-v", "--verbose", action="store_true", help="log more")
    options = parser.parse_args()
    if options.verbose:
        os.environ["TANDEM_LOG_LEVEL"] = "debug"
    settings = prepare()
    try:
        # Imports WeasyPrint, Alembic and the rest once, before the first fork.
        HANDLERS.load("sync_worker.handlers", CATALOG)
        check(settings)
    except (BindingError, SettingsError) as error:
        leave(str(error), BAD_SETTING)
    pdf.preload(settings)
    _preload(settings.rq_imports or ())
    # What is here now is shared with every horse: keep the collector's hands off its pages.
    gc.collect()
    gc.freeze()
    adopt()  # what a job's process leaves behind
    worker = SyncWorker(
        settings,
        connection=client(settings.redis),
        bell=client(settings.redis),
        name=options.name,
        rq_queues=options.queues or (settings.rq_queues if settings.rq_imports else ()),
    )
    notify.ready(pid)
    log.info("ready", extra={"worker": worker.name})
    try:
        worker.work(burst=options.burst, max_jobs=options.max_jobs, max_idle_time=options.max_idle_time)
    except RedisError as error:
        leave(f"Redis went away: {error}", OUTAGE)
    if worker.broken or not (options.burst or options.max_jobs or options.max_idle_time or worker.told_to_stop):
        leave("the worker ended by itself; the lines above say why", BROKEN)  # RQ's own loop would exit with 0


def _preload(prefixes: Sequence[str]) -> None:
    """Import what jobs of plain RQ call, so that no horse has to. What can't be imported fails when it is called."""
    for prefix in prefixes:
        try:
            import_module(prefix)
        except Exception as error:  # noqa: BLE001 - it is anybody's module, or the name of a function
            log.warning("%s was not imported ahead: %s", prefix, error)
