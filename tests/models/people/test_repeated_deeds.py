"""Tests of the rule that limits how often a day a person may do one thing to an account.

Checking it must read the entries of one day only, however long the account's audit log is.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from models.db.session import Database
from models.errors import TooEarly
from models.people.audit_log import AuditEvent, record
from models.people.repeated_deeds import MOST_A_DAY, ensure_not_repeated
from models.people.rights import Action
from tests.factories import NOW, make_main

MANY = """
INSERT INTO audit_entries (account_id, user_id, by_staff, deed, facts, at)
SELECT :account, :person, false, CASE n % 50 WHEN 0 THEN 'detach_asked' ELSE 'forwarding_changed' END, '{}',
    TIMESTAMPTZ '2025-01-01 00:00Z' + n * INTERVAL '1 minute'
FROM generate_series(1, 20000) AS n
"""


def test_only_the_deeds_of_a_day_are_read_of_a_long_log(database: Database) -> None:
    said: list[tuple[str, Any]] = []

    def keep(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        said.append((statement, parameters))

    with database.transaction() as session:
        main, manager = make_main(session)
        session.execute(sa.text(MANY), {"account": main.id, "person": manager.user_id})
        session.execute(sa.text("ANALYZE audit_entries"))
        for _ in range(MOST_A_DAY):
            record(session, manager, main, AuditEvent.DETACH_ASKED, Action.DETACH, NOW)
        session.flush()
        connection = session.connection()
        sa.event.listen(connection, "before_cursor_execute", keep)
        with pytest.raises(TooEarly) as raised:
            ensure_not_repeated(session, manager, main, AuditEvent.DETACH_ASKED, NOW + timedelta(hours=1))
        assert raised.value.again_at == NOW + timedelta(days=1)
        [(statement, parameters)] = said
        explain = f"EXPLAIN (ANALYZE, COSTS OFF) {statement}"
        plan = "\n".join(row[0] for row in connection.exec_driver_sql(explain, parameters))
        assert "ix_audit_entries_account_id_deed_at" in plan and "Removed by Filter" not in plan, plan
