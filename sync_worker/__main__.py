"""`python -m sync_worker`: one process of the forking pool, and its keeper."""

from sync_worker.keeper import keep

pid = keep()

# Not before: the keeper is to be small.
from sync_worker.process import main  # noqa: E402

main(pid)
