"""Tests of `standorte web` as a separate process: its threads and connections, and requests with an ambiguous end.

Such a request has malformed or contradictory headers about its length. Also tests one idempotency key that comes to two
processes at the same moment.
"""

from __future__ import annotations

import re
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpx
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.db.roles import DatabaseRole
from models.db.session import Database
from models.people.api_tokens import create_token
from models.people.rights import Scope
from models.people.users import User
from models.requests.idempotency import reserve_key
from models.requests.requests import Request
from models.values import utc_now
from tests.factories import fill_pool, make_main
from tests.fakes import wait_until
from tests.plain_http import call
from tests.web.conftest import ORDER
from tests.workers.conftest import Children
from workers import programs
from workers.stack.ports import accepts_connections, free_port
from workers.stack.postgres import EmbeddedPostgres

pytestmark = pytest.mark.usefixtures("database_settings")

WAITING_FOR_KEY = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ 'idempotency_keys'"
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%job_heartbeats%'"


def test_every_thread_has_a_connection_of_its_own_and_one_is_left(children: Children, database: Database) -> None:
    port = free_port()
    front = f"http://127.0.0.1:{port}"
    children.start(programs.console("web", "--port", str(port), "--processes", "1", "--threads", "16"))
    wait_until(lambda: accepts_connections(port), what="the front")
    with database.engine.connect() as looking, ThreadPoolExecutor(15) as pool:
        with database.engine.begin() as blocking:
            blocking.execute(sa.text("LOCK TABLE job_heartbeats"))
            asked = [pool.submit(call, "GET", f"{front}/readyz", timeout=30) for _ in range(15)]

            wait_until(lambda: _count(looking, WAITING) == 15, what="fifteen requests, each on its connection")
            assert call("GET", f"{front}/readyz", timeout=30).status_code == 503
            assert call("GET", f"{front}/healthz", timeout=30).status_code == 200
        assert [answer.result().status_code for answer in asked] == [200] * 15


def test_a_request_whose_end_can_be_read_in_two_ways_is_refused(children: Children) -> None:
    port = free_port()
    children.start(programs.console("web", "--port", str(port), "--processes", "1", "--threads", "1"))
    wait_until(lambda: accepts_connections(port), what="the front")
    for lengths in (
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Content-Length: 4\r\nContent-Length: 5",
        "Content-Length: +4",
        "Transfer-Encoding: identity, chunked, chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding : chunked",
        "X-Folded: a\r\n Content-Length: 4",
        "Content-Length: 4\nContent-Length: 5",
    ):
        head = f"POST /healthz HTTP/1.1\r\nHost: portal.example\r\n{lengths}\r\n\r\n0\r\n\r\n"
        hidden = "GET /healthz HTTP/1.1\r\nHost: portal.example\r\n\r\n"
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall((head + hidden).encode())
            answers = b"".join(iter(lambda: connection.recv(65536), b""))
        # One answer, a refusal, and nothing for the request behind it.
        assert re.findall(rb"^HTTP/1.1 (\d+)", answers, re.M) in ([b"400"], [b"501"]), lengths


def test_the_application_sees_what_proxies_add(children: Children) -> None:
    port = free_port()
    children.start(programs.console("web", "--port", str(port), "--processes", "1", "--threads", "1"))
    wait_until(lambda: accepts_connections(port), what="the front")
    metrics = f"http://127.0.0.1:{port}/metrics"
    assert call("GET", metrics, timeout=30).status_code == 200
    for name in ("X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"):
        assert call("GET", metrics, timeout=30, headers={name: "192.0.2.7"}).status_code == 404, name
    # A header with an underscore could be taken for that with a hyphen.
    assert call("GET", metrics, timeout=30, headers={"X_Forwarded_For": "192.0.2.7"}).status_code == 200


def test_one_key_at_the_same_moment_from_two_processes_makes_one_order(
    children: Children, database: Database, postgres: EmbeddedPostgres, superuser: sa.Engine
) -> None:
    ports = [free_port(), free_port()]
    own_role = postgres.url("standorte", DatabaseRole.FRONT)
    for port in ports:
        command = programs.console("web", "--port", str(port), "--processes", "1", "--threads", "2")
        children.start(command, FRONT_DATABASE_URL=own_role)
    now = utc_now()
    with database.transaction() as session:
        main, manager = make_main(session)
        fill_pool(session)
        user = session.get_one(User, manager.user_id)
        token = create_token(session, main, user, "test", frozenset({Scope.WRITE}), now)
    for port in ports:
        wait_until(partial(accepts_connections, port), what="the fronts")

    def order(port: int) -> httpx.Response:
        head = {"Authorization": f"Bearer {token}", "Idempotency-Key": "one"}
        return call("POST", f"http://127.0.0.1:{port}/api/v1/orders", json=ORDER, headers=head, timeout=30)

    with superuser.connect() as looking, ThreadPoolExecutor(2) as pool:
        # Both wait for a call with the same key that comes to nothing, and go on at the same moment.
        with Session(superuser) as holding:
            reserve_key(holding, main.id, manager.user_id, "one", [b""], now)
            asked = [pool.submit(order, port) for port in ports]
            wait_until(lambda: _count(looking, WAITING_FOR_KEY) == 2, what="both processes")
            holding.rollback()
        answers = [answer.result() for answer in asked]
    assert [answer.status_code for answer in answers] == [202, 202], answers
    assert answers[0].content == answers[1].content
    assert sorted("Idempotency-Replayed" in answer.headers for answer in answers) == [False, True]
    with database.transaction() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Request)) == 1


def _count(looking: sa.Connection, query: str) -> int:
    found = looking.scalar(sa.text(query))
    looking.rollback()
    return int(found or 0)
