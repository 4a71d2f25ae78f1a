"""Tests of `standorte web` with clients that send requests, or read answers, byte by byte."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from wsgiref.types import StartResponse, WSGIEnvironment

import httpx
import pytest
import sqlalchemy as sa
from waitress import wasyncore
from waitress.task import ThreadedTaskDispatcher

from models.db.session import Database
from tests.fakes import wait_until
from tests.workers.conftest import Children
from tests.workers.large_answers import SIZE
from web import buffering_worker
from web.buffering_worker import ClientServer, adjustments
from workers import programs
from workers.stack.ports import LOOPBACK, accepts_connections, free_port

THREADS = 2
HEAD = "POST /anmelden HTTP/1.1\r\nHost: portal.example\r\nContent-Type: application/x-www-form-urlencoded\r\n"
BODY = 30_000


@pytest.mark.usefixtures("database_settings")
def test_requests_that_come_byte_by_byte_occupy_no_thread(children: Children) -> None:
    port = _front(children, programs.console("web", "--processes", "1", "--threads", str(THREADS)))
    with ExitStack() as ends:
        heads = [ends.enter_context(_sending(port, f"{HEAD}X-Slow: ")) for _ in range(THREADS + 1)]
        # Longer than what a proxy keeps until it has the whole request.
        begun = f"{HEAD}Content-Length: {BODY}\r\n\r\n{'a' * (BODY - 100)}"
        bodies = [ends.enter_context(_sending(port, begun)) for _ in range(THREADS + 1)]
        for _ in range(3):
            for slow in heads + bodies:
                slow.sendall(b"a")
            assert httpx.get(f"http://{LOOPBACK}:{port}/healthz", timeout=60).status_code == 200
            assert httpx.get(f"http://{LOOPBACK}:{port}/anmelden", timeout=60).status_code == 200

        # They were waited for: their requests are answered once they are whole.
        for slow in bodies:
            slow.sendall(b"a" * 97)
            assert slow.recv(12) == b"HTTP/1.1 400"


@pytest.mark.usefixtures("database_settings")
def test_answers_that_are_read_byte_by_byte_occupy_no_thread(children: Children) -> None:
    command = programs.web(LOOPBACK, port := free_port(), processes=1, threads=THREADS)
    children.start([*command[:-1], "tests.workers.large_answers:create_app()"])
    wait_until(lambda: accepts_connections(port), what="the front")
    with ExitStack() as ends:
        large = "GET /large HTTP/1.1\r\nHost: portal.example\r\nConnection: close\r\n\r\n"
        slow = [ends.enter_context(_sending(port, large)) for _ in range(THREADS + 1)]
        for reader in slow:
            assert reader.recv(1) == b"H"
        assert httpx.get(f"http://{LOOPBACK}:{port}/small", timeout=60).text == "small"
        assert len(httpx.get(f"http://{LOOPBACK}:{port}/large", timeout=60).content) == SIZE

        # What they have not read yet is kept for them.
        with slow[0].makefile("rb") as rest:
            assert rest.read().endswith(bytes(SIZE))


def test_a_client_that_takes_too_long_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    with _server() as (server, turn, connect):
        slow, other = connect(), connect()
        slow.sendall(b"GET / HTTP/1.1\r\nHost: ")
        other.sendall(b"GET / HTTP/1.1\r\nHost: portal.example\r\n\r\n")
        turn()
        assert len(server.active_channels) == 2

        monkeypatch.setattr(buffering_worker, "PATIENCE", 0)
        monkeypatch.setattr(buffering_worker, "SLOWEST", 1_000_000)
        server.maintenance(time.time())
        turn()
        assert slow.recv(100) == b""
        assert other.recv(12) == b"HTTP/1.1 200"


def test_a_client_that_sends_fast_enough_may_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    with _server() as (server, turn, connect):
        monkeypatch.setattr(buffering_worker, "PATIENCE", 0)
        monkeypatch.setattr(buffering_worker, "SLOWEST", 1)
        upload = connect()
        upload.sendall(b"POST / HTTP/1.1\r\nHost: portal.example\r\nContent-Length: 1001\r\n\r\n" + b"a" * 1000)
        turn()
        server.maintenance(time.time())
        upload.sendall(b"a")
        turn()
        assert upload.recv(12) == b"HTTP/1.1 200"


def test_what_waits_for_clients_is_bounded_and_the_slowest_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffering_worker, "MOST_HELD", 1500)
    with _server() as (server, turn, connect):
        uploads = []
        for _ in range(2):
            uploads.append(connect())
            uploads[-1].sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n" + b"a" * 1000)
            turn()
        server.maintenance(time.time())
        turn()
        assert uploads[0].recv(100) == b""
        uploads[1].sendall(b"a")
        turn()
        assert uploads[1].recv(12) == b"HTTP/1.1 200"


@pytest.mark.usefixtures("database_settings")
def test_a_front_that_stops_answers_what_has_begun(children: Children, database: Database) -> None:
    command = programs.web(LOOPBACK, port := free_port(), processes=1, threads=THREADS)
    front = children.start(command)
    wait_until(lambda: accepts_connections(port), what="the front")
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%job_heartbeats%'"
    with database.engine.connect() as looking, ThreadPoolExecutor(1) as pool, _sending(port, "") as coming:
        with database.engine.begin() as blocking:
            blocking.execute(sa.text("LOCK TABLE job_heartbeats"))
            asked = pool.submit(httpx.get, f"http://{LOOPBACK}:{port}/readyz", timeout=30)

            def waits() -> bool:
                found = looking.scalar(sa.text(waiting))
                looking.rollback()
                return bool(found == 1)

            wait_until(waits, what="a request that waits in the database")
            coming.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n")
            assert front.pid is not None
            os.kill(front.pid, signal.SIGTERM)
            wait_until(lambda: not accepts_connections(port), what="the end of listening")
            coming.sendall(b"\r\n")
            with coming.makefile("rb") as answer:
                said = answer.read()
        assert said.startswith(b"HTTP/1.1 200 ") and b"Connection: close" in said
        answered = asked.result()
        assert answered.status_code == 200 and answered.headers["Connection"] == "close"
    front.join(30)
    assert front.exitcode == 0


Turn = Callable[[], None]
Connect = Callable[[], socket.socket]


@contextmanager
def _server() -> Iterator[tuple[ClientServer, Turn, Connect]]:
    """Yield a server that answers 200, a function that lets it do what there is to do, and one that connects to it."""
    connections: dict[int, wasyncore.dispatcher] = {}
    threads = ThreadedTaskDispatcher()
    threads.set_thread_count(1)
    limits = adjustments(10)
    with ExitStack() as ends:
        listener = ends.enter_context(socket.create_server((LOOPBACK, 0)))
        address = (listener.family, listener.type, listener.proto, listener.getsockname())
        server = ClientServer(
            _answer, connections, True, listener, threads, limits, sockinfo=address, bind_socket=False
        )
        ends.callback(wasyncore.close_all, connections)
        ends.callback(threads.shutdown)

        def turn() -> None:
            # One to accept, one to read, one to write; with the second connection one more.
            wasyncore.loop(0, use_poll=True, map=connections, count=5)

        def connect() -> socket.socket:
            client = ends.enter_context(socket.create_connection(listener.getsockname(), timeout=60))
            turn()
            return client

        yield server, turn, connect


def _answer(_: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    start_response("200 OK", [])
    return [b""]


def _front(children: Children, command: list[str]) -> int:
    port = free_port()
    children.start([*command, "--port", str(port)])
    wait_until(lambda: accepts_connections(port), what="the front")
    return port


@contextmanager
def _sending(port: int, begin: str) -> Iterator[socket.socket]:
    """Yield a connection that has sent the beginning of a request, and takes little at a time."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(60)
        client.connect((LOOPBACK, port))
        client.sendall(begin.encode())
        yield client
