"""Batched inserts for rows that do not change again in their transaction, such as timeline entries.

All queued rows of a table are inserted with one statement at the next flush. A batch of requests writes hundreds of
such rows, and one statement for each table is much cheaper than one ORM object for each row.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session, SessionTransaction

from models.db.base import Base
from models.db.work_queue import QueueRow, forget_due, made_due

_ROWS = "rows_for_later"


class BatchSession(Session):
    """A session that inserts the rows queued with `batch_insert` after its own objects, which the rows refer to."""

    def flush(self, objects: Any = None) -> None:
        """Write the session's objects, then insert the queued rows with one statement for each table."""
        super().flush(objects)
        waiting: dict[type[Base], list[dict[str, Any]]] = self.info.pop(_ROWS, {})
        for table, rows in waiting.items():
            if issubclass(table, QueueRow):
                made_due(self, table.WORK)
            self.execute(_insert(table, tuple(rows[0])), {"rows": json.dumps(rows, default=str)})


def batch_insert(session: Session, table: type[Base], **values: Any) -> None:
    """Queue a row, given as column values, for insertion at the next flush or at the commit.

    All rows of a table that are queued for one flush must name the same columns.
    """
    session.info.setdefault(_ROWS, {}).setdefault(table, []).append(values)


@sa.event.listens_for(BatchSession, "before_commit")
def _write(session: BatchSession) -> None:
    if _ROWS in session.info:
        session.flush()


@sa.event.listens_for(BatchSession, "after_flush")
def _note_due(session: BatchSession, _: object) -> None:
    for row in (*session.new, *session.dirty):
        if isinstance(row, QueueRow) and row.due_at is not None and row.lease is None:
            made_due(session, row.work, row.due_at)


@sa.event.listens_for(BatchSession, "after_soft_rollback")
def _forget(session: BatchSession, previous: SessionTransaction) -> None:
    # Rows queued before a savepoint were flushed when the savepoint began, so only rolled-back rows are dropped here.
    session.info.pop(_ROWS, None)
    if not previous.nested:
        forget_due(session)


@cache
def _insert(table: type[Base], names: tuple[str, ...]) -> sa.TextClause:
    columns, dialect = table.metadata.tables[table.__tablename__].columns, postgresql.dialect()  # type: ignore[no-untyped-call]
    typed = ", ".join(f"{name} {columns[name].type.compile(dialect)}" for name in names)
    listed = ", ".join(names)
    return sa.text(
        f"INSERT INTO {table.__tablename__} ({listed})"  # noqa: S608 - names of our own columns
        f" SELECT {listed} FROM json_to_recordset(CAST(:rows AS json)) AS incoming ({typed})"
    )
