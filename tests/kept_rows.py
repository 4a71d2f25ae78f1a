"""A copy of all rows of a database that can be restored, so that a test can try many changes on the same rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from models.schema import metadata


@contextmanager
def kept_rows(engine: sa.Engine) -> Iterator[KeptRows]:
    """Copy all rows of the database to a schema `kept`; yield an object that restores them; drop the copy at the end.

    `engine` must connect as a superuser.
    """
    with engine.begin() as connection:
        names = [
            name for name in metadata.tables if connection.exec_driver_sql(f"SELECT 1 FROM {name} LIMIT 1").first()
        ]
        connection.exec_driver_sql("CREATE SCHEMA kept")
        for name in names:
            connection.exec_driver_sql(f"CREATE UNLOGGED TABLE kept.{name} AS TABLE {name}")
    try:
        yield KeptRows(engine, names)
    finally:
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP SCHEMA kept CASCADE")


class KeptRows:
    """A copy of the rows of all tables that were not empty, kept in the database's schema `kept`."""

    def __init__(self, engine: sa.Engine, names: list[str]) -> None:
        self._engine = engine
        statements = [f"DELETE FROM {name}" for name in metadata.tables]
        for name in names:
            columns = ", ".join(column.name for column in metadata.tables[name].columns if column.computed is None)
            statements.append(
                f"INSERT INTO {name} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM kept.{name}"
            )
        # Foreign keys and triggers are off, so the order of the tables does not matter.
        self._restore = "; ".join(["SET LOCAL session_replication_role = replica", *statements])

    def restore(self) -> None:
        """Set all tables back to the copied rows; rows that were added since are deleted."""
        with self._engine.begin() as connection:
            connection.exec_driver_sql(self._restore)
