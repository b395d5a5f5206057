"""A worker of the forking pool as a process: its options, what it loads before the first fork, its exit code."""

import argparse
import gc
import logging
import os

from redis.exceptions import RedisError

from tandem.shared.config.settings import BAD_SETTING, SettingsError
from tandem.shared.maintenance.fairness import tell_fairness
from tandem.shared.maintenance.scripts import load_scripts
from tandem.shared.runtime import sd_notify
from tandem.shared.runtime.bootstrap import OUTAGE, leave, prepare
from tandem.shared.runtime.parent_death import adopt
from tandem.shared.tasks.handlers import BindingError
from tandem.sync_worker.context import HANDLERS
from tandem.sync_worker.engine.horses import huge_pages
from tandem.sync_worker.engine.leases.lease_end import LeaseEnds
from tandem.sync_worker.engine.plan import CATALOG
from tandem.sync_worker.engine.worker import SyncWorker
from tandem.sync_worker.reports import pdf
from tandem.sync_worker.startup_checks import check, preload

log = logging.getLogger("tandem.sync_worker")


BROKEN = 1


def main(pid: int, lease_ends: LeaseEnds) -> None:
    """Run the worker; `pid` is the process that whoever started it knows, and reads `lease_ends`."""
    options = _options()
    if options.verbose:
        os.environ["TANDEM_LOG_LEVEL"] = "debug"
    settings = prepare()
    load_scripts(settings.redis)
    tell_fairness(settings)
    try:
        # Imports WeasyPrint and the rest once, before the first fork.
        HANDLERS.load("tandem.sync_worker.handlers", CATALOG)
        check(settings)
        preload(settings.rq_imports or ())
    except (BindingError, SettingsError) as error:
        leave(str(error), BAD_SETTING)
    pdf.preload(settings)
    # What is here now is shared with every horse: keep the collector's hands off its pages.
    gc.collect()
    gc.freeze()
    huge_pages.collapse()
    adopt()  # what a job's process leaves behind
    worker = SyncWorker(
        settings,
        lease_ends=lease_ends,
        name=options.name,
        rq_queues=options.queues or (settings.rq_queues if settings.rq_imports else ()),
    )
    sd_notify.ready(pid)
    log.info("ready", extra={"worker": worker.name})
    try:
        worker.work(burst=options.burst, max_jobs=options.max_jobs, max_idle_time=options.max_idle_time)
    except RedisError as error:
        if worker.told_to_stop:  # RQ could not sign it off; its keys run out
            return
        leave(f"Redis went away: {error}", OUTAGE)
    if worker.broken or not (options.burst or options.max_jobs or options.max_idle_time or worker.told_to_stop):
        leave("the worker ended by itself; the lines above say why", BROKEN)  # RQ's own loop would exit with 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tandem.sync_worker", description="One process of the forking pool."
    )
    parser.add_argument("queues", nargs="*", help="queues of plain RQ to serve too; default: TANDEM_RQ_QUEUES")
    parser.add_argument("-b", "--burst", action="store_true", help="end when no job is left")
    parser.add_argument("-n", "--name", help="the worker's name; default: a random one")
    parser.add_argument("--max-jobs", type=int, metavar="N", help="end after N jobs")
    parser.add_argument("--max-idle-time", type=int, metavar="S", help="end after S seconds without a job")
    parser.add_argument("-v", "--verbose", action="store_true", help="log more")
    return parser.parse_args()
