"""Rows that nobody changes again in their transaction, like a timeline's: written together when it is flushed.

A batch of requests writes hundreds of them. One statement a table costs a small part of what an object each would.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from models.db.base import Base

_ROWS = "rows_for_later"


class BatchSession(Session):
    """A session that writes such rows after its objects, since they refer to them."""

    def flush(self, objects: Any = None) -> None:
        """Write everything."""
        super().flush(objects)
        waiting: dict[type[Base], list[dict[str, Any]]] = self.info.pop(_ROWS, {})
        for table, rows in waiting.items():
            self.execute(_insert(table, tuple(rows[0])), {"rows": json.dumps(rows, default=str)})


def batch_insert(session: Session, table: type[Base], **values: Any) -> None:
    """Have a row written at the next flush, or at the commit. All rows of a table name the same columns."""
    session.info.setdefault(_ROWS, {}).setdefault(table, []).append(values)


@sa.event.listens_for(BatchSession, "before_commit")
def _write(session: BatchSession) -> None:
    if _ROWS in session.info:
        session.flush()


@sa.event.listens_for(BatchSession, "after_soft_rollback")
def _forget(session: BatchSession, _: object) -> None:
    # What was added before a savepoint was flushed when it began.
    session.info.pop(_ROWS, None)


@cache
def _insert(table: type[Base], names: tuple[str, ...]) -> sa.TextClause:
    columns, dialect = table.metadata.tables[table.__tablename__].columns, postgresql.dialect()  # type: ignore[no-untyped-call]
    typed = ", ".join(f"{name} {columns[name].type.compile(dialect)}" for name in names)
    listed = ", ".join(names)
    return sa.text(
        f"INSERT INTO {table.__tablename__} ({listed})"  # noqa: S608 - names of our own columns
        f" SELECT {listed} FROM json_to_recordset(CAST(:rows AS json)) AS incoming ({typed})"
    )
