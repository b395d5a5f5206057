"""`python -m tandem.llm_worker`: one process of the asyncio pool."""

import argparse

import arq.worker

from tandem.llm_worker.main import worker_settings


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tandem.llm_worker", description=__doc__)
    parser.add_argument("--burst", action="store_true", help="end when no job is left")
    options = parser.parse_args()
    arq.worker.run_worker(worker_settings(), burst=options.burst)


main()
