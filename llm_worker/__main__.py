"""`python -m llm_worker`: one process of the asyncio pool."""

import argparse
import asyncio

import uvloop

from llm_worker.main import worker
from shared.binding import BindingError
from shared.settings import BAD_SETTING, SettingsError
from shared.start import leave, prepare


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m llm_worker", description=__doc__)
    parser.add_argument("--burst", action="store_true", help="end when no job is left")
    options = parser.parse_args()
    settings = prepare()
    asyncio.set_event_loop(uvloop.new_event_loop())
    try:
        worker(settings, burst=options.burst).run()
    except (BindingError, SettingsError) as error:
        leave(str(error), BAD_SETTING)


main()
