"""A job that leaves processes behind, as source for the modules that real workers load."""

LEAVE_BEHIND = """
import os
import signal
from pathlib import Path


def stay():
    while True:
        signal.pause()


def leave_behind(marks):
    # A child in the group, and a daemon that left it; both note their numbers and outlive the job's process.
    for daemon in (False, True):
        if os.fork() == 0:
            if daemon:
                os.setsid()
                if os.fork():
                    os._exit(0)
            Path(marks, f"left.{os.getpid()}").touch()
            stay()
"""
