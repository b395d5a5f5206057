"""`python -m tandem.sync_worker`: one process of the forking pool, and its keeper."""

from tandem.sync_worker.engine.supervisor import keep

pid = keep()

# Not before: the keeper is to be small.
from tandem.sync_worker.main import main  # noqa: E402

main(pid)
