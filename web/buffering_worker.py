"""gunicorn's worker process of `standorte web`: waitress reads whole requests and keeps answers until they are taken.

gunicorn starts, watches and stops the processes. In each of them one loop of waitress talks to all clients, and a
thread gets a request only when all of it is here and is free again as soon as its answer is complete. So a client that
sends or reads byte by byte occupies a connection, but no thread, and `ClientConnection` says how long.
"""

from __future__ import annotations

import os
import re
import resource
import time
from types import FrameType

import structlog
from gunicorn.workers.base import Worker
from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher, WSGITask

log = structlog.get_logger()

PATIENCE = 30.0
"""Seconds that a client may always take to send a request, or to take an answer, and between two requests."""
SLOWEST = 10_000
"""Bytes that give a client one more second: so much a second it has to send or to take in the end."""
MOST_HELD = 150_000_000
"""Bytes that clients may let wait in a process, of requests and answers: with more, the slowest of them are let go."""
LONGEST_HEAD = 32_768
LONGEST_BODY = 50_000_000
"""Bytes. The application has limits of its own, and answers in words: this one is for what nobody sends by mistake."""
CONNECTIONS = 1000
"""Connections in each process; further ones wait."""
_IN_MEMORY = 100_000
"""Bytes of a request or answer that are kept in memory; more goes to a temporary file."""
_LINGER = 2.0
"""Seconds for which a stopping process still answers on idle connections, whose clients may just be sending."""

_ENCODING = re.compile(rb"^transfer-encoding[ \t]*:[ \t]*(.*?)[ \t]*$", re.IGNORECASE | re.MULTILINE)


class StrictParser(HTTPRequestParser):  # type: ignore[misc]
    """The parser of a request, which refuses what another server could read as more or fewer requests."""

    def parse_header(self, header_plus: bytes) -> None:
        """Parse what precedes the body. Raises `ParsingError` if the end of the request could be read in two ways."""
        if b"\r\n " in header_plus or b"\r\n\t" in header_plus:
            raise ParsingError("Folded header")
        encodings = [found.lower() for found in _ENCODING.findall(header_plus.replace(b"\r\n", b"\n"))]
        super().parse_header(header_plus)
        if encodings and (encodings != [b"chunked"] or self.version != "1.1" or "CONTENT_LENGTH" in self.headers):
            raise ParsingError("Ambiguous length")


class ServedRequest(WSGITask):  # type: ignore[misc]
    """A request that is being answered. If the process is stopping, the answer says that the connection is closed."""

    def build_response_header(self) -> bytes:
        """Return the lines before the answer's body; called by waitress."""
        if not self.channel.server.accepting:
            self.set_close_on_finish()
        return bytes(super().build_response_header())


class ClientConnection(HTTPChannel):  # type: ignore[misc]
    """A client's connection, with the time and the number of bytes since we began to wait for the client.

    We wait while a request comes and while an answer is taken, and not while a thread works.
    """

    parser_class = StrictParser
    task_class = ServedRequest
    began = 0.0
    moved = 0

    def received(self, data: bytes) -> bool:
        """Take in a piece of a request; called by waitress."""
        if self.request is None:
            self._begin()
        self.moved += len(data)
        return bool(super().received(data))

    def service(self) -> None:
        """Answer a request in a thread; called by waitress."""
        # Before, too: the loop may look in between the two lines after it.
        self._begin()
        super().service()
        self._begin()

    def send(self, data: bytes, do_close: bool = True) -> int:
        """Send a piece of an answer and return how many bytes have gone; called by waitress."""
        sent = int(super().send(data, do_close))
        self.moved += sent
        return sent

    def _begin(self) -> None:
        self.began, self.moved = time.monotonic(), 0

    @property
    def is_awaited(self) -> bool:
        """Return whether the client has to send the rest of a request, or to take the rest of an answer."""
        return not self.requests and bool(self.request is not None or self.total_outbufs_len)

    @property
    def is_too_slow(self) -> bool:
        """Return whether the client takes longer than `PATIENCE` and the number of bytes allow."""
        return time.monotonic() - self.began > PATIENCE + self.moved / SLOWEST

    @property
    def held(self) -> int:
        """Return how many bytes of the request and of the answer are kept for the client."""
        return int(self.total_outbufs_len) + (self.request.body_bytes_received if self.request is not None else 0)


class ClientServer(TcpWSGIServer):  # type: ignore[misc]
    """The listening socket and its connections, of which the slow ones are closed."""

    channel_class = ClientConnection

    def stop_listening(self) -> None:
        """Accept the connections that have been made so far, and no further ones."""
        known = -1
        while known != (known := len(self.active_channels)):
            self.handle_accept()
        # Not its own `close`, as threads still wake the loop by the trigger.
        wasyncore.dispatcher.close(self)

    def maintenance(self, now: float) -> None:
        """Close connections that have been idle or slow for too long; called by waitress once a second."""
        super().maintenance(now)
        awaited = [connection for connection in list(self.active_channels.values()) if connection.is_awaited]
        too_slow = [connection for connection in awaited if connection.is_too_slow]
        held = sum(connection.held for connection in awaited)
        for connection in sorted(awaited, key=lambda connection: connection.began):
            if held <= MOST_HELD:
                break
            held -= connection.held
            too_slow.append(connection)
        for connection in too_slow:
            connection.will_close = True
        if too_slow:
            log.info("clients.too_slow", closed=len(too_slow))


def adjustments(backlog: int) -> Adjustments:
    """Return the settings of waitress. `backlog` connections at most wait until we accept them."""
    return Adjustments(
        # Says nobody which server this is.
        ident="",
        backlog=backlog,
        connection_limit=CONNECTIONS,
        channel_timeout=PATIENCE,
        cleanup_interval=1,
        max_request_header_size=LONGEST_HEAD,
        max_request_body_size=LONGEST_BODY,
        inbuf_overflow=_IN_MEMORY,
        outbuf_overflow=_IN_MEMORY,
        # No thread ever waits until a client has taken its answer.
        outbuf_high_watermark=2**62,
        # The application decides by TRUSTED_PROXIES which of them it believes.
        clear_untrusted_proxy_headers=False,
        log_socket_errors=False,
    )


class BufferingWorker(Worker):  # type: ignore[misc]
    """A process of gunicorn that serves its sockets by waitress, with gunicorn's settings `threads` and `backlog`."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; called at SIGTERM."""
        super().handle_exit(sig, frame)
        for server in self._servers:
            server.pull_trigger()

    def init_process(self) -> None:
        """Prepare the process and run it until it is stopped; called by gunicorn."""
        self._servers: list[ClientServer] = []
        super().init_process()

    def run(self) -> None:
        """Serve until SIGTERM, then finish what has begun, within `graceful_timeout` seconds; called by gunicorn."""
        _allow_files(4 * CONNECTIONS)
        connections: dict[int, wasyncore.dispatcher] = {}
        limits, threads = adjustments(self.cfg.backlog), ThreadedTaskDispatcher()
        threads.set_thread_count(self.cfg.threads)
        for listener in self.sockets:
            address = (listener.sock.family, listener.sock.type, listener.sock.proto, listener.sock.getsockname())
            self._servers.append(
                ClientServer(
                    self.wsgi, connections, True, listener.sock, threads, limits, sockinfo=address, bind_socket=False
                )
            )
        while self.alive and self.ppid == os.getppid():
            self._once(connections)
        stopped = time.monotonic()
        for server in self._servers:
            server.stop_listening()
        while (waited := time.monotonic() - stopped) < self.cfg.graceful_timeout:
            open_ones = [connection for server in self._servers for connection in server.active_channels.values()]
            if not any(connection.requests or connection.is_awaited for connection in open_ones) and (
                waited > _LINGER or not open_ones
            ):
                break
            self._once(connections, 0.1)

    def _once(self, connections: dict[int, wasyncore.dispatcher], timeout: float = 1.0) -> None:
        self.notify()
        wasyncore.loop(timeout, use_poll=True, map=connections, count=1)


def _allow_files(count: int) -> None:
    """Let the process open so many files, or as many as it may: a connection can need one for each direction."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if most == resource.RLIM_INFINITY else min(count, most)
    if now < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
