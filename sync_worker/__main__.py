"""`python -m sync_worker`: one process of the forking pool."""

import argparse
import gc
import logging

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
from sync_worker.run import CATALOG
from sync_worker.worker import SyncWorker

log = logging.getLogger("tandem.sync_worker")


BROKEN = 1


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sync_worker", description=__doc__)
    parser.add_argument("--burst", action="store_true", help="end when no job is left")
    parser.add_argument("--name", help="the worker's name; default: a random one")
    parser.add_argument("--max-jobs", type=int, help="end after so many jobs")
    options = parser.parse_args()
    settings = prepare()
    try:
        # Imports WeasyPrint, Alembic and the rest once, before the first fork.
        HANDLERS.load("sync_worker.handlers", CATALOG)
        check(settings)
    except (BindingError, SettingsError) as error:
        leave(str(error), BAD_SETTING)
    pdf.preload(settings)
    # What is here now is shared with every horse: keep the collector's hands off its pages.
    gc.collect()
    gc.freeze()
    adopt()  # what a job's process leaves behind
    worker = SyncWorker(settings, connection=client(settings.redis), bell=client(settings.redis), name=options.name)
    notify.ready()
    log.info("ready", extra={"worker": worker.name})
    try:
        worker.work(burst=options.burst, max_jobs=options.max_jobs)
    except RedisError as error:
        leave(f"Redis went away: {error}", OUTAGE)
    if not (options.burst or options.max_jobs or worker.told_to_stop):
        leave("the worker ended by itself; the lines above say why", BROKEN)  # RQ's own loop would exit with 0


main()
