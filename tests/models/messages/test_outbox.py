"""Tests of marking messages as sent: only queued ones, only once, and none that another transaction has locked."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from models.db.session import Database
from models.messages.outbox import Message, MessageState, Recipient, mark_sent, queue_message, queued_ids
from tests.factories import NOW


@pytest.fixture
def ids(database: Database) -> list[int]:
    """Queue three mails; return their ids in the order in which they were queued."""
    with database.transaction() as session:
        for name in ("ada", "bo", "kim"):
            queue_message(session, None, "login_erased", Recipient(name, f"{name}@example.com", "de"), {}, NOW)
    with database.transaction() as session:
        return list(session.scalars(sa.select(Message.id).order_by(Message.id)))


def test_only_queued_messages_are_marked_and_only_once(database: Database, ids: list[int]) -> None:
    with database.transaction() as session:
        session.get_one(Message, ids[2]).refuse(NOW)
    with database.transaction() as session:
        assert mark_sent(session, ids, NOW) == set(ids[:2])
    with database.transaction() as session:
        assert mark_sent(session, ids, NOW + timedelta(hours=1)) == set()
    with database.transaction() as session:
        found = session.scalars(sa.select(Message).order_by(Message.id)).all()
        assert [message.state for message in found] == [MessageState.SENT, MessageState.SENT, MessageState.REFUSED]
        assert [message.sent_at for message in found] == [NOW, NOW, None]
        assert [(message.due_at, message.lease) for message in found] == [(None, None)] * 3


def test_a_message_that_is_locked_is_left_for_later(database: Database, ids: list[int]) -> None:
    with database.transaction() as other:
        other.get_one(Message, ids[0], with_for_update=True)
        with database.transaction() as session:
            session.execute(sa.text("SET LOCAL lock_timeout = '5s'"))
            assert mark_sent(session, ids, NOW) == set(ids[1:])
            assert queued_ids(session, ids) == {ids[0]}
