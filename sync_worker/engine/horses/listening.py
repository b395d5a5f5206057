"""Waits for horses, and for other files, all at once."""

import select
from collections.abc import Collection, Iterable

from tandem.sync_worker.engine.horses.horse import Horse

BLINK = 0.01  # seconds between two looks where the kernel can't tell us of a process's end


def listen(horses: Collection[Horse], seconds: float, *, files: Iterable[int] = ()) -> None:
    """Sleep until a horse ends, prints, says or can be told more, or one of `files` can be read."""
    poll = select.poll()
    told = [horse.watch(poll) for horse in horses]
    for file in files:
        poll.register(file, select.POLLIN)
    if not all(told):
        seconds = min(seconds, BLINK)
    ready = {file for file, _ in poll.poll(max(seconds, 0.0) * 1000)}
    for horse in horses:
        horse.hear(ready)
