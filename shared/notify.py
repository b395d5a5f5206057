"""Saying "I am ready" to whoever started the process: systemd's sd_notify(3) protocol."""

import os
import socket


def ready() -> None:
    """Send READY=1 to `NOTIFY_SOCKET`, if the supervisor (systemd, or the local one) gave one."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"READY=1\nMAINPID=%d" % os.getpid(), address)
