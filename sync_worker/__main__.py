"""`python -m tandem.sync_worker`: one process of the forking pool, and its supervisor."""

from tandem.sync_worker.engine.supervisor import supervise

pid, lease_ends = supervise()

# Not before: the supervisor is to be small.
from tandem.sync_worker.main import main  # noqa: E402

main(pid, lease_ends)
