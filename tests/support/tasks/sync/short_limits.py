"""Read as `tandem.sync_worker.handlers.short_limits`: what would take too long for a test ends sooner, if told so."""

import os

from tandem.sync_worker.mail import smtp
from tandem.sync_worker.reports import bounds

if "TESTS_SHORT_LIMITS" in os.environ:
    bounds.MAX_SECONDS = 0.3  # the sources' are 10 s and 30 s
    smtp.TIMEOUT = 0.5
