"""Tests that jobs which run every few minutes find their rows by an index, however many rows have ended."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from models.states import Status
from tests.factories import an_order
from tests.tasks.conftest import Pipeline

ENDED_REQUESTS = """
INSERT INTO requests SELECT (jsonb_populate_record(one, jsonb_build_object('id', uuidv7()))).*
FROM requests AS one, generate_series(1, 3000)
"""
SENT_MESSAGES = """
INSERT INTO messages OVERRIDING SYSTEM VALUE
SELECT (jsonb_populate_record(one, jsonb_build_object('id', 1000000 + n, 'occasion', n::text))).*
FROM messages AS one, generate_series(1, 3000) AS n WHERE one.id = (SELECT min(id) FROM messages)
"""


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a node of PostgreSQL's query plan (in JSON form), and all nodes below it."""
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


@pytest.mark.parametrize(("job", "table"), [("mails", "messages"), ("requests", "requests")])
def test_a_job_reads_nothing_that_has_ended(pipeline: Pipeline, job: str, table: str) -> None:
    id = pipeline.order(an_order())
    for _ in range(4):
        pipeline.advance()
    assert pipeline.request(id).status is Status.COMPLETED
    with pipeline.owner.engine.begin() as connection:
        connection.exec_driver_sql(ENDED_REQUESTS if table == "requests" else SENT_MESSAGES)
        connection.exec_driver_sql(f"ANALYZE {table}")
    plans: list[dict[str, Any]] = []

    def explain(connection: sa.Connection, cursor: Any, statement: str, values: Any, *_: object) -> None:
        if f"FROM {table}" in statement and "FOR UPDATE" in statement:
            [[plan]] = cursor.connection.cursor().execute(f"EXPLAIN (FORMAT JSON) {statement}", values).fetchall()
            plans.append(plan[0]["Plan"])

    sa.event.listen(pipeline.runtime.database.engine, "before_cursor_execute", explain)
    try:
        pipeline.run(job)
    finally:
        sa.event.remove(pipeline.runtime.database.engine, "before_cursor_execute", explain)
    assert plans
    for plan in plans:
        ways = {
            (node["Node Type"], node.get("Index Name")) for node in nodes(plan) if node.get("Alias", table) == table
        }
        assert not [way for way in ways if way[0] == "Seq Scan" or way[1] == f"pk_{table}"], ways
