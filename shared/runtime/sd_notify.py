"""Saying "I am ready" to whoever started the process: systemd's sd_notify(3) protocol."""

import os
import socket


def ready(pid: int | None = None) -> None:
    """Send READY=1 to `NOTIFY_SOCKET`, if the supervisor (systemd, or the local one) gave one.

    `pid` is the process that the supervisor started, if it is not this one.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"READY=1\nMAINPID=%d" % (pid or os.getpid()), address)
