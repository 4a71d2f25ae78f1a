"""Tests of the counts for the metrics: they count what waits or needs a person, and read growing tables by indexes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from models.db.session import Database
from models.messages.outbox import Message, Recipient, mark_sent, queue_message
from models.requests.requests import Request
from models.states import Reason
from models.views import queue_counts
from tests.factories import NOW, an_order, fill_pool, make_main, submit_order

GROWING = {"requests", "messages"}


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the node `plan` of a PostgreSQL execution plan (JSON) and all nodes below it."""
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def test_what_has_ended_well_is_not_counted(database: Database) -> None:
    with database.transaction() as session:
        main, manager = make_main(session)
        fill_pool(session)
        done, failed, held, _ = [submit_order(session, manager, main, an_order(), NOW) for _ in range(4)]
        done.begin(NOW)
        done.complete(NOW)
        failed.begin(NOW)
        failed.fail(Reason.GATEWAY_REFUSED, NOW)
        held.begin(NOW)
        held.hold(Reason.INTERNAL_ERROR, NOW)
        for place in range(3):
            queue_message(session, None, "login_erased", Recipient("Kim", f"kim{place}@example.com", "de"), {}, NOW)
        session.flush()
        mark_sent(session, session.scalars(sa.select(Message.id).where(Message.request_id.is_not(None))).all(), NOW)
        refused, *_ = session.scalars(sa.select(Message).where(Message.request_id.is_(None)))
        refused.refuse(NOW)
    with database.transaction() as session:
        assert sorted(queue_counts.request_counts(session)) == [
            ("acknowledged", "verify", 1),
            ("failed", "verify", 1),
            ("held", "verify", 1),
        ]
        assert sorted(queue_counts.message_counts(session)) == [("queued", 2), ("refused", 1)]
        assert queue_counts.oldest_due(session, NOW) == NOW
        assert session.scalar(sa.select(sa.func.count()).select_from(Request)) == 4


def test_each_count_is_answered_by_indexes(database: Database) -> None:
    asked: list[tuple[str, Any]] = []
    with database.transaction() as session:
        connection = session.connection()

        def note(_connection: object, _cursor: object, statement: str, values: Any, *_: object) -> None:
            asked.append((statement, values))

        sa.event.listen(connection, "before_cursor_execute", note)
        queue_counts.request_counts(session)
        queue_counts.message_counts(session)
        queue_counts.oldest_due(session, NOW)
        queue_counts.oldest_of_work(session, NOW)
        sa.event.remove(connection, "before_cursor_execute", note)
        whole_indexes = set(
            connection.exec_driver_sql(
                "SELECT indexrelid::regclass::text FROM pg_index"
                " WHERE indrelid IN ('requests'::regclass, 'messages'::regclass) AND indpred IS NULL"
            ).scalars()
        )
        # Small tables are read as a whole unless that is forbidden.
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        for statement, values in asked:
            [[[told]]] = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", values).fetchall()
            plan = json.loads(told)["Plan"] if isinstance(told, str) else told["Plan"]
            whole = {node["Relation Name"] for node in nodes(plan) if node["Node Type"] == "Seq Scan"}
            assert not whole & GROWING, statement
            # An index over all rows would be read as a whole.
            assert not whole_indexes & {node.get("Index Name") for node in nodes(plan)}, statement
    assert len(asked) == 4
