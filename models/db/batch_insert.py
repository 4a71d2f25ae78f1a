"""Batched inserts for rows that do not change again in their transaction, such as timeline entries.

All queued rows are inserted with one statement at the next flush. A batch of requests writes hundreds of such rows,
and one statement is much cheaper than one ORM object for each row. New objects can be inserted with them (`batch_add`).
Statements of other modules can wait for the flush, too, to be executed once for many rows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session, SessionTransaction, make_transient_to_detached
from sqlalchemy.orm.attributes import set_committed_value

from models.db.base import Base
from models.db.work_queue import QueueRow, forget_due, made_due

_ROWS = "rows_for_later"
_STATEMENTS = "statements_for_later"


class BatchSession(Session):
    """A session that inserts the rows queued with `batch_insert` after its own objects, which the rows refer to."""

    def flush(self, objects: Any = None) -> None:
        """Write the session's objects, execute the queued statements, and insert the queued rows with one statement."""
        super().flush(objects)
        for statement in list(self.info.get(_STATEMENTS, ())):
            execute_queued(self, statement)
        waiting: dict[type[Base], list[dict[str, Any]]] = self.info.pop(_ROWS, {})
        if waiting:
            values = {f"rows_{place}": json.dumps(rows, default=str) for place, rows in enumerate(waiting.values())}
            self.execute(_insert(tuple((table, tuple(rows[0])) for table, rows in waiting.items())), values)


def batch_insert(session: Session, table: type[Base], hinted: bool = True, /, **values: Any) -> None:
    """Queue a row, given as column values, for insertion at the next flush or at the commit.

    All rows of a table that are queued for one flush must name the same columns. `hinted`: if the table is a work
    queue, a Celery message tells the workers after the commit that rows are due; if it is False, they find the row at
    the next such message, or when the sweep looks some seconds later.
    """
    if hinted and issubclass(table, QueueRow):
        made_due(session, table.WORK)
    session.info.setdefault(_ROWS, {}).setdefault(table, []).append(values)


def batch_add(session: Session, row: Base) -> None:
    """Queue a new object, with its primary key, for insertion at the next flush or at the commit.

    Workers are told after the commit if its table is a work queue. The object belongs to the session from now on, as
    if it had been read from the database. Nothing may refer to its row before the next flush, except other queued rows.
    """
    given = sa.inspect(row).dict
    values = {name: usual if given.get(name) is None else given[name] for name, usual in _columns(type(row))}
    for name in values.keys() - given.keys():
        # Otherwise it would be read when it is asked for.
        set_committed_value(row, name, values[name])
    batch_insert(session, type(row), **values)
    make_transient_to_detached(row)
    session.add(row)


def queued_rows(session: Session, table: type[Base]) -> Sequence[Mapping[str, Any]]:
    """Return the rows of the table that wait for the next flush, as column values."""
    rows: list[dict[str, Any]] = session.info.get(_ROWS, {}).get(table, [])
    return rows


def batch_execute(session: Session, statement: sa.TextClause, /, **values: Any) -> None:
    """Queue a row of values by name for a statement, which runs once for all its rows, at the next flush or commit.

    The statement reads the rows from its parameter `rows`, a JSON array of objects.
    """
    session.info.setdefault(_STATEMENTS, {}).setdefault(statement, []).append(values)


def execute_queued(session: Session, statement: sa.TextClause) -> None:
    """Execute the statement now for the rows that `batch_execute` has queued for it; do nothing if there are none.

    Neither the session's objects nor other queued rows are written.
    """
    if rows := session.info.get(_STATEMENTS, {}).pop(statement, None):
        session.execute(statement, {"rows": json.dumps(rows, default=str)})


@sa.event.listens_for(BatchSession, "before_commit")
def _write(session: BatchSession) -> None:
    if session.info.get(_ROWS) or session.info.get(_STATEMENTS):
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
    session.info.pop(_STATEMENTS, None)
    if not previous.nested:
        forget_due(session)


@cache
def _columns(table: type[Base]) -> Sequence[tuple[str, Any]]:
    """Return the columns that are written to the table, each with its default: None, or a value for every row."""
    columns = table.metadata.tables[table.__tablename__].columns
    return [
        (column.name, column.default.arg if isinstance(column.default, sa.ColumnDefault) else None)
        for column in columns
        if column.computed is None
    ]


@cache
def _insert(tables: tuple[tuple[type[Base], tuple[str, ...]], ...]) -> sa.TextClause:
    """Return the statement that inserts the rows of all tables, each given with the names of its columns.

    The parameter `rows_0` has the rows of the first table as JSON, `rows_1` those of the second, and so on.
    """
    first, *others = (_into(table, names, f"rows_{place}") for place, (table, names) in enumerate(tables))
    before = ", ".join(f"insert_{place} AS ({insert})" for place, insert in enumerate(others))
    return sa.text(f"WITH {before} {first}" if before else first)


def _into(table: type[Base], names: tuple[str, ...], rows: str) -> str:
    columns, dialect = table.metadata.tables[table.__tablename__].columns, postgresql.dialect()  # type: ignore[no-untyped-call]
    typed = ", ".join(f"{name} {columns[name].type.compile(dialect)}" for name in names)
    listed = ", ".join(names)
    given = " OVERRIDING SYSTEM VALUE" if any(columns[name].identity is not None for name in names) else ""
    conflict = f" ON CONFLICT {table.ON_CONFLICT}" if table.ON_CONFLICT else ""
    return (
        f"INSERT INTO {table.__tablename__} ({listed}){given}"  # noqa: S608 - names of our own columns
        f" SELECT {listed} FROM json_to_recordset(CAST(:{rows} AS json)) AS incoming ({typed}){conflict}"
    )
