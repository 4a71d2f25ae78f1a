"""Copies all rows of a database and restores them, so that a test can try many changes on the same rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from models.schema import metadata

# Changes with each row that is added, changed or deleted.
_STATE_OF = "SELECT '{0}', count(*), max(xmin::text::bigint) FROM {0}"
_STATES = sa.text(" UNION ALL ".join(_STATE_OF.format(name) for name in metadata.tables))


@contextmanager
def kept_rows(engine: sa.Engine) -> Iterator[KeptRows]:
    """Copy all rows of the database to a schema `kept`; yield an object that restores them; drop the copy at the end.

    `engine` must connect as a superuser.
    """
    with engine.begin() as connection:
        names = {
            name for name in metadata.tables if connection.exec_driver_sql(f"SELECT 1 FROM {name} LIMIT 1").first()
        }
        connection.exec_driver_sql("CREATE SCHEMA kept")
        for name in names:
            connection.exec_driver_sql(f"CREATE UNLOGGED TABLE kept.{name} AS TABLE {name}")
        found = KeptRows(engine, names, connection)
    try:
        yield found
    finally:
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP SCHEMA kept CASCADE")


class KeptRows:
    """A copy of the rows of all tables that were not empty, in the database's schema `kept`.

    `names` are these tables; `connection` is a connection of `engine`, in the transaction that has copied them.
    """

    def __init__(self, engine: sa.Engine, names: set[str], connection: sa.Connection) -> None:
        self._engine, self._names = engine, names
        self._states = _states(connection)

    def restore(self) -> None:
        """Bring all tables back to the copied rows; rows that were added since are deleted."""
        with self._engine.begin() as connection:
            now = _states(connection)
            changed = [name for name, state in now.items() if state != self._states[name]]
            # Foreign keys and triggers are off, so the order of the tables does not matter.
            statements = ["SET LOCAL session_replication_role = replica"]
            statements += [f"DELETE FROM {name}" for name in changed]
            statements += [_insert(name) for name in changed if name in self._names]
            connection.exec_driver_sql("; ".join(statements))
            self._states = _states(connection)


def _states(connection: sa.Connection) -> dict[str, tuple[int, int | None]]:
    return {name: (rows, newest) for name, rows, newest in connection.execute(_STATES)}


def _insert(name: str) -> str:
    columns = ", ".join(column.name for column in metadata.tables[name].columns if column.computed is None)
    return f"INSERT INTO {name} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM kept.{name}"
