"""Tests of the scheduled job `mails`: it reports mails that are late, were tried often, or were refused."""

from __future__ import annotations

import uuid
from datetime import timedelta

import sqlalchemy as sa

from models.db.work_queue import WorkKind
from models.messages.outbox import Message, MessageState
from tasks.ports import GatewayError, GatewayRefused, GatewayUnavailable
from tests.factories import an_order
from tests.tasks.conftest import Pipeline
from tests.tasks.reconcile.job_findings import DAY, MINUTE, changing, finds


def test_a_late_mail_is_tried_again_at_once(pipeline: Pipeline) -> None:
    away: list[GatewayError] = [GatewayUnavailable("down") for _ in range(3)]
    pipeline.mailer.failures[pipeline.manager.email] = away
    pipeline.order(an_order())
    pipeline.advance()
    finds(pipeline, "mails")
    with changing(pipeline) as session:
        for message in session.scalars(sa.select(Message).where(Message.state == MessageState.QUEUED)):
            message.due_at = pipeline.clock.now + DAY
    pipeline.clock.advance(16 * MINUTE)
    pipeline.mailer.failures.clear()
    kinds = ["mail_late"] * len(waiting(pipeline))
    found = finds(pipeline, "mails", *kinds)
    late = {"order_completed", "order_completed_contact", "order_receipt"}
    assert {finding.facts["template"] for finding in found} == late
    assert all(finding.repaired for finding in found)
    # The first is the try whether the server is back; it is, and the others follow.
    pipeline.advance()
    assert pipeline.told[-1] is WorkKind.MESSAGES
    pipeline.advance()
    assert waiting(pipeline) == []
    assert len(pipeline.mailer.but_receipts) == 2
    finds(pipeline, "mails")


def waiting(pipeline: Pipeline) -> list[Message]:
    with changing(pipeline) as session:
        return list(session.scalars(sa.select(Message).where(Message.state == MessageState.QUEUED)))


def test_a_mail_that_was_tried_often_is_for_the_back_office(pipeline: Pipeline) -> None:
    pipeline.order(an_order())
    pipeline.mailer.failures[pipeline.manager.email] = [GatewayUnavailable("down")]
    pipeline.mailer.failures["hanna.palmer@example.com"] = [GatewayUnavailable("down")]
    pipeline.advance()
    with changing(pipeline) as session:
        session.execute(sa.update(Message).values(attempts=12))
    pipeline.clock.advance(16 * MINUTE)
    found = finds(pipeline, "mails", *["mail_late"] * 3)
    assert not any(finding.repaired for finding in found)


def test_a_mail_in_a_workers_hands_is_left_there(pipeline: Pipeline) -> None:
    pipeline.mailer.failures[pipeline.manager.email] = [GatewayUnavailable("down")]
    pipeline.order(an_order())
    pipeline.advance()
    pipeline.clock.advance(16 * MINUTE)
    with changing(pipeline) as session:
        lease = {"lease": uuid.uuid4(), "due_at": pipeline.clock.now + MINUTE}
        session.execute(sa.update(Message).where(Message.state == MessageState.QUEUED).values(**lease))
    finds(pipeline, "mails")


def test_a_refused_mail_is_found_for_a_day(pipeline: Pipeline) -> None:
    pipeline.mailer.failures["hanna.palmer@example.com"] = [GatewayRefused("no such box")]
    pipeline.order(an_order())
    pipeline.advance()
    pipeline.clock.advance(23 * timedelta(hours=1))
    [finding] = finds(pipeline, "mails", "mail_refused")
    assert not finding.repaired
    assert finding.facts["template"] == "order_completed_contact"
    pipeline.clock.advance(2 * timedelta(hours=1))
    finds(pipeline, "mails")
