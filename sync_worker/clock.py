"""The clock: due and expired jobs, jobs of dead sync workers, jobs that no list leads to, schedules.

One process is enough; any number may run, because each step is one script or does nothing the second time.
"""

import logging
import signal
import threading
from types import FrameType

from shared import notify, store
from shared.book import Book
from shared.catalog import load
from shared.errors import StoreUnavailable
from shared.redis import client
from shared.settings import Settings
from shared.start import prepare
from sync_worker.schedules import Schedules

log = logging.getLogger("tandem.clock")

STEP_EVERY = 0.5  # seconds
LOOKS = 50  # jobs that one step looks at for lost ones


def run(settings: Settings, stop: threading.Event) -> None:
    """Tick until `stop` is set; an outage of Redis is waited out."""
    book = Book(client(settings.redis))
    schedules = Schedules(settings, book, load())
    log.info("ready")
    notify.ready()
    while not stop.wait(STEP_EVERY):
        try:
            step(settings, book)
            schedules.step()
        except StoreUnavailable as error:
            log.warning("no tick: %s", error)


def step(settings: Settings, book: Book) -> None:
    """Do what is due now in both pools."""
    done = book.run(store.tick(ttl=settings.job_ttl))
    if done.reaped:
        log.warning("gave back %d jobs of dead workers", done.reaped)
    if lost := book.run(store.sweep(looks=LOOKS)):
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
