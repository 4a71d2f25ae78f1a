"""A TCP proxy in front of a real server that can silence, delay or cut connections, or lose the server's answers."""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from select import select
from threading import Event, Thread

LOOPBACK = "127.0.0.1"


class Proxy:
    """Forwards TCP connections at `port` to a server on this machine, until a method silences, delays or cuts them.

    `server` is the server's port, or the path of its Unix socket.
    """

    def __init__(self, server: int | str) -> None:
        self._servers = deque([server])
        self._silent = Event()
        self._loses_answers = Event()
        self._late = 0.0
        self._ended = Event()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listening = socket.create_server((LOOPBACK, 0))
        self.port: int = self._listening.getsockname()[1]
        Thread(target=self._accept, daemon=True).start()

    def silence(self) -> None:
        """From now on, forward no data in either direction. Old and new connections stay open."""
        self._silent.set()

    def speak(self) -> None:
        """End the effect of `silence`: cut all present connections, and forward data on new ones.

        A firewall that has forgotten connections does the same.
        """
        self.cut()
        self._silent.clear()

    @contextmanager
    def losing_answers(self) -> Iterator[None]:
        """During the `with` block, close each connection when the server answers, without forwarding the answer."""
        self._loses_answers.set()
        yield
        self._loses_answers.clear()

    @contextmanager
    def taking_turns_with(self, server: int | str) -> Iterator[None]:
        """During the `with` block, forward every other new connection to `server` instead; open connections stay.

        `server` is a port or the path of a Unix socket. That server has to end its connections itself when the block
        ends.
        """
        self._servers.append(server)
        yield
        self._servers.remove(server)

    @contextmanager
    def answering_late(self, seconds: float) -> Iterator[None]:
        """During the `with` block, forward the server's data `seconds` late, on old and new connections.

        Data that is delayed when the block ends still comes late.
        """
        self._late = seconds
        yield
        self._late = 0.0

    def cut(self) -> None:
        """Close all open connections. New ones are still accepted."""
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        """End all connections and accept no more."""
        self._ended.set()
        self._listening.close()
        self.cut()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                client, _ = self._listening.accept()
                server = self._connect()
            except OSError:
                continue
            pair = (client, server)
            self._pairs.append(pair)
            Thread(target=self._pass_on, args=pair, daemon=True).start()

    def _connect(self) -> socket.socket:
        address = self._servers[0]
        self._servers.rotate()
        if isinstance(address, int):
            return socket.create_connection((LOOPBACK, address))
        server = socket.socket(socket.AF_UNIX)
        server.connect(address)
        return server

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        try:
            while not self._ended.is_set():
                for ready in select([client, server], [], [], 0.2)[0]:
                    data = ready.recv(65536)
                    if not data or (ready is server and self._loses_answers.is_set()):
                        return
                    if ready is server and self._late:
                        time.sleep(self._late)
                    if not self._silent.is_set():
                        (server if ready is client else client).sendall(data)
        except OSError:
            return
        finally:
            for end in (client, server):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()


@contextmanager
def proxy_to(server: int | str) -> Iterator[Proxy]:
    """Run a proxy to a server, given by its port or the path of its Unix socket.

    Yield the proxy; it is ended after the `with` block.
    """
    proxy = Proxy(server)
    try:
        yield proxy
    finally:
        proxy.end()
