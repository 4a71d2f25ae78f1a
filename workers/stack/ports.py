"""Find free TCP and UDP ports on this machine, and check whether a port is in use."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator

LOOPBACK = "127.0.0.1"
_UNUSED_BY_CONNECTIONS = range(20_000, 32_000)
"""The ports to choose from. The kernel does not use them for outgoing connections, which could take a chosen port.

Linux gives outgoing connections ports from 32,768 on (`ip_local_port_range`).
"""


def is_free(port: int, host: str = LOOPBACK, *, udp: bool = False) -> bool:
    """Return whether a program could now listen on this port of `host`: a TCP port, or with `udp` a UDP port."""
    with _socket(udp=udp) as attempt:
        if not udp:
            # As servers do, so that a closed connection in TIME_WAIT does not count as using the port.
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind((host, port))
        except OSError:
            return False
    return True


def free_port(preferred: int | None = None, host: str = LOOPBACK, *, udp: bool = False) -> int:
    """Return a TCP port (with `udp` a UDP port) of `host` that is free now: the preferred one if possible."""
    return next(port for port in _candidates(preferred) if is_free(port, host, udp=udp))


def free_sip_port(preferred: int | None = None, host: str = LOOPBACK) -> int:
    """Return a port of `host` that is free now for both TCP and UDP: the preferred one if possible."""
    return next(port for port in _candidates(preferred) if is_free(port, host, udp=True) and is_free(port, host))


def _candidates(preferred: int | None) -> Iterator[int]:
    """Yield the preferred port, unless it is None, and then random ports without end."""
    if preferred is not None:
        yield preferred
    while True:
        yield random.choice(_UNUSED_BY_CONNECTIONS)


def accepts_connections(port: int) -> bool:
    """Return whether a program accepts TCP connections on this port of the loopback address."""
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True


def _socket(*, udp: bool) -> socket.socket:
    return socket.socket(type=socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
