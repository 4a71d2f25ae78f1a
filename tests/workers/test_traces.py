"""Tests of the traces that web application and workers, as separate processes, send to a collector by OTLP."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import sqlalchemy as sa
from celery import Celery

from models.db.roles import DatabaseRole
from models.db.session import Database
from models.db.work_queue import WorkKind
from models.messages.outbox import Message, MessageState
from models.people.api_tokens import create_token
from models.people.rights import Scope
from models.people.users import User
from models.requests.requests import Request
from models.states import Status
from models.values import utc_now
from tests.collector import collecting
from tests.factories import fill_pool, make_main, prove_contact
from tests.fakes import MailSink, wait_until
from tests.plain_http import call
from tests.web.conftest import ORDER
from tests.workers.conftest import Children
from workers import programs
from workers.stack.ports import accepts_connections, free_port
from workers.stack.postgres import EmbeddedPostgres

pytestmark = pytest.mark.usefixtures("database_settings")

THEIR_TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
KINDS = (WorkKind.VERIFY, WorkKind.PROVISION, WorkKind.MESSAGES, WorkKind.SWEEP)
STEPS = ("verify", "provision", "attach", "confirm")


def test_an_order_is_one_trace_from_the_front_through_the_workers_to_its_last_mail(
    children: Children, database: Database, postgres: EmbeddedPostgres, redis_url: str, smtp_sink: MailSink
) -> None:
    with database.transaction() as session:
        main, manager = make_main(session)
        fill_pool(session)
        prove_contact(session, main)
        user = session.get_one(User, manager.user_id)
        token = create_token(session, main, user, "test", frozenset({Scope.WRITE}), utc_now())
    port = free_port()
    with collecting() as collector:
        # Nothing is sent before the programs end.
        traces = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "600000"}
        front = children.start(
            programs.console("web", "--port", str(port), "--processes", "2", "--threads", "2"),
            FRONT_DATABASE_URL=postgres.url("standorte", DatabaseRole.FRONT),
            **traces,
        )
        worker = children.start(programs.worker(1, KINDS), SMTP_URL=f"smtp://127.0.0.1:{smtp_sink.port}", **traces)
        children.start(programs.beat(Path("schedule")), **traces)
        wait_until(lambda: accepts_connections(port), what="the front")
        head = {"Authorization": f"Bearer {token}", "Idempotency-Key": "one", "traceparent": THEIR_TRACE}
        answer = call("POST", f"http://127.0.0.1:{port}/api/v1/orders", json=ORDER, headers=head, timeout=30)
        assert answer.status_code == 202
        with Celery(broker=redis_url, set_as_current=False) as sender:
            sender.send_task(WorkKind.SWEEP, queue=WorkKind.SWEEP)

        def all_sent() -> bool:
            with database.transaction() as session:
                status = session.scalar(sa.select(Request.status))
                return status is Status.COMPLETED and set(session.scalars(sa.select(Message.state))) == {
                    MessageState.SENT
                }

        wait_until(all_sent, what="the last mail")
        assert collector.spans == []
        for program in (front, worker):
            program.terminate()
            program.join(30)
            assert program.exitcode in (0, -signal.SIGTERM)
        root = collector.one("POST /api/v1/orders")
        assert root.service == "standorte-front" and root.facts["http.response.status_code"] == 202
        # A caller's trace is linked to, and not joined.
        assert root.trace != THEIR_TRACE.split("-")[1] and root.links == [THEIR_TRACE.split("-")[2]]
        steps = [collector.one(f"step {step}") for step in STEPS]
        assert [step.parent for step in steps] == [root.id] * 4
        assert collector.named("registrar.put_trunks")[0].parent == steps[1].id
        mails = collector.named("mail")
        assert {mail.parent for mail in mails} == {root.id, steps[3].id}
        ours = [root, *steps, *mails, collector.named("registrar.put_trunks")[0]]
        assert {span.trace for span in ours} == {root.trace}
        assert {span.service for span in ours[1:]} == {"standorte-worker"}
    lines = [line for line in children.said().splitlines() if root.trace in line]
    assert any('"event": "http"' in line for line in lines) and any("message.left" in line for line in lines)
