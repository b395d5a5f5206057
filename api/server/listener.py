"""The socket that the gateway listens on."""

import socket

STALL = 30.0  # seconds


def listen(host: str, port: int, *, stall: float = STALL) -> socket.socket:
    """Open it. Where the kernel can (Linux), it drops a client that takes nothing for `stall` seconds.

    Closing alone would wait for that client, and keep what it has not read, for as long as it lives.

    Raises:
        OSError: the address is taken or not ours.

    """
    listener = socket.create_server((host, port), reuse_port=False, backlog=2048)
    if timeout := getattr(socket, "TCP_USER_TIMEOUT", None):
        listener.setsockopt(socket.IPPROTO_TCP, timeout, round(stall * 1000))  # connections inherit it
    return listener
