"""gunicorn's worker of `standorte web`, whose threads wait for a client only for a bounded time.

A thread reads a request as it comes. Without a bound, a client that sends a byte now and then would keep it for hours,
and as many such clients as there are threads would leave none for others. A proxy in front that waits for whole
requests keeps short ones away; what is longer than its buffer still comes to a thread as slowly as it is sent.
"""

from __future__ import annotations

import errno
import socket
from time import monotonic
from typing import Any

import structlog
from gunicorn.workers.gthread import TConn, ThreadWorker

from web.settings import WebSettings

log = structlog.get_logger()


class BoundedSocket(socket.socket):
    """The socket of a client that has to send a whole request, and to take each piece of the answer, within a time."""

    _patience: float = 0
    _until: float = 0
    _was_logged = False

    @classmethod
    def of(cls, client: socket.socket) -> BoundedSocket:
        """Return a socket for the connection of `client`, which must not be used any more."""
        return cls(client.family, client.type, client.proto, client.detach())

    def begin_request(self, seconds: float) -> None:
        """Begin to wait for the next request, which has to be here, with its body, in so many seconds."""
        self._patience, self._until, self._was_logged = seconds, monotonic() + seconds, False

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Return what the client has sent, as any socket does; once the time is over, nothing, as if it had gone."""
        left = self._until - monotonic()
        try:
            if left <= 0:
                raise TimeoutError
            self.settimeout(left)
            return super().recv(bufsize, flags)
        except TimeoutError:
            if not self._was_logged:
                log.info("request.too_slow")
            self._was_logged = True
            return b""
        finally:
            # For what is sent from now on.
            self.settimeout(self._patience)

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """Send a piece of the answer. Raises `ConnectionResetError` if the client does not take it within the time."""
        try:
            super().sendall(data, flags)
        except TimeoutError as error:
            # As gunicorn knows it from clients that are gone.
            raise ConnectionResetError(errno.ECONNRESET, "the client takes nothing") from error


class BoundedWorker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's worker with threads, for connections with a `BoundedSocket`."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._seconds = WebSettings().web_request_seconds

    def handle(self, conn: TConn) -> object:
        """Handle the next request of the connection in a thread; called by gunicorn."""
        if not isinstance(conn.sock, BoundedSocket):
            conn.sock = BoundedSocket.of(conn.sock)
        conn.sock.begin_request(self._seconds)
        return super().handle(conn)
