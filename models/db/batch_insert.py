"""Batched inserts for rows that do not change again in their transaction, such as timeline entries.

All queued rows are inserted with one statement at the next flush. A batch of requests writes hundreds of such rows, and
one statement is much cheaper than one ORM object for each row. New ORM objects can be queued, too (`batch_add`), and so
can other statements, each of which runs once for all its queued rows (`batch_execute`).
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
    """A session whose flush writes its changed objects first, and then the queued rows, which may refer to the objects.

    Rows are queued with `batch_insert`, `batch_add` and `batch_execute`.
    """

    def flush(self, objects: Any = None) -> None:
        """Write the session's changed objects, then the rows that were queued since the last flush.

        The statements of `batch_execute` run first. Then one statement inserts the rows of all tables.
        """
        super().flush(objects)
        for statement in list(self.info.get(_STATEMENTS, ())):
            execute_queued(self, statement)
        waiting: dict[type[Base], list[dict[str, Any]]] = self.info.pop(_ROWS, {})
        if waiting:
            values = {f"rows_{place}": json.dumps(rows, default=str) for place, rows in enumerate(waiting.values())}
            self.execute(_insert(tuple((table, tuple(rows[0])) for table, rows in waiting.items())), values)


def batch_insert(session: Session, table: type[Base], hinted: bool = True, /, **values: Any) -> None:
    """Queue a row, given as column values by name, for insertion at the next flush or at the commit.

    All rows of a table that are queued for one flush must name the same columns. `hinted` matters if the table is a
    work queue: if it is True, a Celery message after the commit tells the workers that rows are due. If it is False,
    they find the row after the next such message, or by the regular search for due rows some seconds later.
    """
    if hinted and issubclass(table, QueueRow):
        made_due(session, table.WORK)
    session.info.setdefault(_ROWS, {}).setdefault(table, []).append(values)


def batch_add(session: Session, row: Base) -> None:
    """Queue a new object, which must have its primary key, for insertion at the next flush or at the commit.

    From now on the session treats the object as if it had been read from the database. Until the next flush only other
    queued rows may refer to the object's row. If the table is a work queue, the workers are told after the commit.
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
    """Return the rows of the table that are queued for the next flush, each as a dict of column values by name."""
    rows: list[dict[str, Any]] = session.info.get(_ROWS, {}).get(table, [])
    return rows


def batch_execute(session: Session, statement: sa.TextClause, /, **values: Any) -> None:
    """Queue a row of `values` for a statement that runs once, at the next flush or commit, for all rows queued for it.

    The statement gets these rows as its parameter `rows`, a JSON array of objects.
    """
    session.info.setdefault(_STATEMENTS, {}).setdefault(statement, []).append(values)


def execute_queued(session: Session, statement: sa.TextClause) -> None:
    """Execute the statement now for the rows that `batch_execute` has queued for it; do nothing if there are none.

    Neither the session's objects nor the rows of `batch_insert` are written.
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
    """Return the names of the table's columns that are not computed, each with its default value or None."""
    columns = table.metadata.tables[table.__tablename__].columns
    return [
        (column.name, column.default.arg if isinstance(column.default, sa.ColumnDefault) else None)
        for column in columns
        if column.computed is None
    ]


@cache
def _insert(tables: tuple[tuple[type[Base], tuple[str, ...]], ...]) -> sa.TextClause:
    """Return the statement that inserts rows into several tables, each given with the names of the columns to write.

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
