"""The files that parts started singly need: keys and the example database folder."""

from tandem.deploy.local.run import make_local_files
from tandem.shared.config.settings import load_or_exit
from tandem.shared.runtime.command_line import take_no_options

if __name__ == "__main__":
    take_no_options("tandem.deploy.local.files", __doc__)
    make_local_files(load_or_exit())
