"""`python -m tandem.shared.maintenance`: the clock's process."""

from tandem.shared.maintenance.clock import main

main()
