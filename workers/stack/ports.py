"""Find free TCP and UDP ports on this machine."""

from __future__ import annotations

import socket

LOOPBACK = "127.0.0.1"


def is_free(port: int, host: str = LOOPBACK, *, udp: bool = False) -> bool:
    """Return whether a server could listen on a port now."""
    with _socket(udp=udp) as attempt:
        if not udp:
            # As servers do: a connection of before that lingers is no obstacle.
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind((host, port))
        except OSError:
            return False
    return True


def free_port(preferred: int | None = None, host: str = LOOPBACK, *, udp: bool = False) -> int:
    """Return a free port: the preferred one if it is free."""
    if preferred is not None and is_free(preferred, host, udp=udp):
        return preferred
    with _socket(udp=udp) as attempt:
        attempt.bind((host, 0))
        port: int = attempt.getsockname()[1]
        return port


def free_sip_port(preferred: int | None = None) -> int:
    """Return a port that is free for both TCP and UDP: the preferred one if it is."""
    port = free_port(preferred, udp=True)
    while not is_free(port):
        port = free_port(udp=True)
    return port


def accepts_connections(port: int) -> bool:
    """Return whether a TCP server accepts connections on a local port."""
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True


def _socket(*, udp: bool) -> socket.socket:
    return socket.socket(type=socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
