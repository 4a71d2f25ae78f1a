"""Find and check free TCP and UDP ports on this machine."""

from __future__ import annotations

import socket

LOOPBACK = "127.0.0.1"


def is_free(port: int, host: str = LOOPBACK, *, udp: bool = False) -> bool:
    """Return whether a program could listen on this TCP port (UDP port with `udp`) of `host` now."""
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
    """Return a port of `host` that is free now, for TCP or with `udp` for UDP: the preferred one if free, else any."""
    if preferred is not None and is_free(preferred, host, udp=udp):
        return preferred
    with _socket(udp=udp) as attempt:
        attempt.bind((host, 0))
        port: int = attempt.getsockname()[1]
        return port


def free_sip_port(preferred: int | None = None) -> int:
    """Return a loopback port that is free now for TCP and for UDP: the preferred one if free for both, else any."""
    port = free_port(preferred, udp=True)
    while not is_free(port):
        port = free_port(udp=True)
    return port


def accepts_connections(port: int) -> bool:
    """Return whether a program accepts TCP connections on this port of the loopback address."""
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True


def _socket(*, udp: bool) -> socket.socket:
    return socket.socket(type=socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
