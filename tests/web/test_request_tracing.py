"""Tests of the traces of HTTP requests: which requests make a span, and which data a span must not contain."""

from __future__ import annotations

import sqlalchemy as sa

from models.db.session import Database
from models.messages.outbox import Message
from models.requests.requests import Request
from tests.collector import collecting, traced
from tests.factories import make_user
from tests.web.conftest import ORDER, Front, FrontOf
from tests.web.portal.page.test_portal import csrf


def test_rows_of_a_request_are_of_its_trace(front: Front, front_of: FrontOf) -> None:
    with collecting() as collector, traced(collector.url):
        head = {"Authorization": f"Bearer {front.token}", "Idempotency-Key": "one"}
        answer = front_of().post("/api/v1/orders", json=ORDER, headers=head)
        assert answer.status_code == 202
        with front.database.transaction() as session:
            [order], [receipt] = (session.scalars(sa.select(table.traceparent)) for table in (Request, Message))
    root = collector.one("POST /api/v1/orders")
    assert order == receipt
    assert order is not None and order.split("-")[1:3] == [root.trace, root.id]


def test_a_mail_about_no_request_is_of_the_trace_of_its_page(front_of: FrontOf, database: Database) -> None:
    with database.transaction() as session:
        make_user(session, email="hanna.seen@example.com")
    with collecting() as collector, traced(collector.url):
        client = front_of()
        typed = {"csrf_token": csrf(client.get("/passwort").text), "email": "hanna.seen@example.com"}
        assert client.post("/passwort", data=typed).status_code == 303
        with database.transaction() as session:
            [traceparent] = session.scalars(sa.select(Message.traceparent))
    root = collector.one("POST /passwort")
    assert traceparent is not None and traceparent.split("-")[1:3] == [root.trace, root.id]


def test_paths_and_queries_stay_here_and_probes_and_files_are_no_spans(front_of: FrontOf) -> None:
    with collecting() as collector, traced(collector.url):
        client = front_of()
        client.get("/healthz")
        client.get("/static/portal.css")
        client.get("/nothing/hanna.palmer@example.com?code=secret")
        client.get("/api/v1/requests/0199aaaa-0000-7000-8000-000000000000?cursor=secret")
    assert {span.name for span in collector.spans} == {"GET", "GET /api/v1/requests/<id>"}
    told = b"".join(collector.raw)
    assert b"hanna" not in told and b"secret" not in told and b"0199aaaa" not in told
