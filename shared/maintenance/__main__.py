"""`python -m tandem.shared.maintenance`: the clock's process."""

from tandem.shared.maintenance.clock import main
from tandem.shared.runtime.command_line import take_no_options

take_no_options("tandem.shared.maintenance", __doc__)
main()
