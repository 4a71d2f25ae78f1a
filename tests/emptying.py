"""Deletes the rows that a test has left in a database, and inserts again the rows with which many tests begin.

Both are done by SQL functions of one session, for which the server keeps the plans of their statements: planning the
deletion of no rows takes longer than the deletion. TRUNCATE, which creates new files for every table and index, would
take many times as long.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import LiteralString

import psycopg
from psycopg import sql

_SEQUENCES = "SELECT schemaname, sequencename FROM pg_sequences ORDER BY 1, 2"
_USED = """
SELECT format('%I.%I', schemaname, sequencename), last_value FROM pg_sequences WHERE last_value IS NOT NULL
"""
_WRITTEN = """
SELECT attname::text FROM pg_attribute
WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum
"""


class Emptying:
    """A superuser's connection, over which the tables of a database are emptied again and again.

    `url` is the database's URL in the form that libpq reads. `tables` are the names of the tables; `deletes` are
    further statements that delete rows. The connection is opened at the first use.
    """

    def __init__(self, url: str, tables: Sequence[str], deletes: Sequence[LiteralString] = ()) -> None:
        self._url, self._tables = url, tables
        self._deletes: list[sql.Composable] = [_of("DELETE FROM {}", name) for name in tables]
        self._deletes += [sql.SQL(statement) for statement in deletes]
        self._connection: psycopg.Connection | None = None
        self._kept: set[str] = set()

    def empty(self) -> None:
        """Delete all rows of the tables, and reset every used sequence of the database to 1."""
        try:
            self._call("empty")
        except psycopg.OperationalError:
            # A test has ended all connections.
            self.close()
            self._call("empty")

    def is_empty(self) -> bool:
        """Return whether none of the tables has a row."""
        return bool(self._call("is_empty"))

    def keep(self, name: str) -> None:
        """Copy all rows that the tables have now, under the name `name`, for `put_back`."""
        connection = self._connected()
        one = "SELECT 1 FROM {} LIMIT 1"
        filled = [table for table in self._tables if connection.execute(_of(one, table)).fetchone()]
        inserts: list[sql.Composable] = []
        for table in filled:
            kept = sql.Identifier("pg_temp", f"{name}_{table}")
            connection.execute(sql.SQL("CREATE TABLE {} AS TABLE {}").format(kept, sql.Identifier(table)))
            columns = sql.SQL(", ").join(
                sql.Identifier(column) for (column,) in connection.execute(_WRITTEN, [table]).fetchall()
            )
            inserts.append(
                sql.SQL("INSERT INTO {0} ({1}) OVERRIDING SYSTEM VALUE SELECT {1} FROM {2}").format(
                    sql.Identifier(table), columns, kept
                )
            )
        for sequence, value in connection.execute(_USED).fetchall():
            inserts.append(sql.SQL("PERFORM setval({}, {})").format(sql.Literal(sequence), sql.Literal(value)))
        is_filled = sql.SQL(" OR ").join(_of("EXISTS (SELECT FROM {})", table) for table in filled)
        self._define(f"put_back_{name}", sql.SQL("IF {} THEN RETURN false; END IF").format(is_filled), *inserts)
        self._kept.add(name)

    def put_back(self, name: str) -> bool:
        """Insert the rows that `keep` has copied under this name again; return whether that was done.

        It is not done if no rows were copied under the name, or if one of the tables from which they came has rows.
        """
        return name in self._kept and bool(self._call(f"put_back_{name}"))

    def close(self) -> None:
        """Close the connection. The copies made by `keep` are lost."""
        self._kept.clear()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> psycopg.Connection:
        if self._connection is None:
            # Foreign keys and triggers are off (role `replica`), so the order of the tables does not matter. Set for
            # the whole session: a change of this setting makes the server forget its plans.
            replica = "-c session_replication_role=replica"
            self._connection = psycopg.connect(self._url, autocommit=True, options=replica)
            names = [sql.Identifier(*name) for name in self._connection.execute(_SEQUENCES).fetchall()]
            reset = sql.SQL("IF (SELECT is_called FROM {}) THEN PERFORM setval({}, 1, false); END IF")
            resets = [reset.format(name, sql.Literal(name.as_string())) for name in names]
            self._define("empty", *self._deletes, *resets)
            filled = sql.SQL(" OR ").join(_of("EXISTS (SELECT FROM {})", name) for name in self._tables)
            self._define("is_empty", sql.SQL("RETURN NOT ({})").format(filled))
        return self._connection

    def _define(self, name: str, *statements: sql.Composable) -> None:
        connection = self._connected()
        body = sql.SQL("BEGIN {}; RETURN true; END").format(sql.SQL("; ").join(statements))
        connection.execute(
            sql.SQL("CREATE FUNCTION {}() RETURNS bool LANGUAGE plpgsql AS {}").format(
                sql.Identifier("pg_temp", name), sql.Literal(body.as_string(connection))
            )
        )

    def _call(self, function: str) -> object:
        [answer] = self._connected().execute(_of("SELECT {}()", "pg_temp", function)).fetchone() or [None]
        return answer


def _of(statement: LiteralString, *name: str) -> sql.Composed:
    return sql.SQL(statement).format(sql.Identifier(*name))
