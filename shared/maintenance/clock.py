"""The clock: due and expired jobs, jobs of dead sync workers, jobs that no list leads to, schedules.

One process is enough; any number may run, because each step is one script or does nothing the second time.
"""

import logging
import signal
import threading
from types import FrameType

from tandem.shared.config.settings import Settings
from tandem.shared.errors import StoreUnavailable
from tandem.shared.maintenance.schedules import Schedules
from tandem.shared.runtime import sd_notify
from tandem.shared.runtime.bootstrap import prepare
from tandem.shared.runtime.redis_client import client
from tandem.shared.store import maintenance
from tandem.shared.store.executor import Book
from tandem.shared.tasks.registry import load

log = logging.getLogger("tandem.clock")

STEP_EVERY = 0.5  # seconds
LOOKS = 50  # jobs that one step looks at for lost ones


def run(settings: Settings, stop: threading.Event) -> None:
    """Tick until `stop` is set; an outage of Redis is waited out."""
    book = Book(client(settings.redis))
    schedules = Schedules(settings, book, load())
    log.info("ready")
    sd_notify.ready()
    while not stop.wait(STEP_EVERY):
        try:
            step(settings, book)
            schedules.step()
        except StoreUnavailable as error:
            log.warning("no tick: %s", error)


def step(settings: Settings, book: Book) -> None:
    """Do what is due now in both pools."""
    done = maintenance.do_all(book, ttl=settings.job_ttl, looks=LOOKS)
    if recovered := done["recover_expired_leases"]:
        log.warning("gave back %d jobs of dead workers", recovered)
    if lost := done["recover_lost"]:
        log.warning("put %d jobs back that no list led to", lost)


def main() -> None:
    settings = prepare()
    stop = threading.Event()

    def end(signum: int, _frame: FrameType | None) -> None:
        log.info("%s: stopping", signal.Signals(signum).name)
        stop.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    run(settings, stop)


if __name__ == "__main__":
    main()
