"""A blocking call as a job: RQ and Celery import this module."""

from bench.jobs import tally
from bench.jobs.asking import ask_blocking


def ask(sent: float) -> str:
    tally.note(sent)
    return ask_blocking()
