"""The files that parts started singly need: keys and the example database folder."""

from tandem.deploy.local.run import make_local_files
from tandem.shared.config.settings import load_or_exit

if __name__ == "__main__":
    make_local_files(load_or_exit())
