"""The clock: moves due sync jobs to their queue and gives the jobs of dead sync workers back.

One process is enough; any number may run, because each step is one script.
"""

import logging
import signal
import threading
from types import FrameType

from shared import notify, store
from shared.book import Book
from shared.errors import StoreUnavailable
from shared.redis import client
from shared.settings import Settings
from shared.start import prepare

log = logging.getLogger("tandem.clock")

STEP_EVERY = 0.5  # seconds


def run(settings: Settings, stop: threading.Event) -> None:
    """Tick until `stop` is set; an outage of Redis is waited out."""
    book = Book(client(settings.redis))
    log.info("ready")
    notify.ready()
    while not stop.wait(STEP_EVERY):
        try:
            done = book.run(store.tick(ttl=settings.job_ttl))
        except StoreUnavailable as error:
            log.warning("no tick: %s", error)
            continue
        if done.reaped:
            log.warning("gave back %d jobs of dead workers", done.reaped)


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
