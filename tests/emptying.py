"""Deletes the rows that a test has left in a database, with statements that the server has planned before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import LiteralString

import psycopg
from psycopg import sql

_SEQUENCES = "SELECT schemaname, sequencename FROM pg_sequences ORDER BY 1, 2"


class Emptying:
    """A superuser's connection to the database at `url` (of libpq), over which its tables are emptied again and again.

    `tables` are these tables; `deletes` are further statements that delete rows. Connects before the first use.
    """

    def __init__(self, url: str, tables: Sequence[str], deletes: Sequence[LiteralString] = ()) -> None:
        self._url = url
        self._deletes: list[sql.Composable] = [
            sql.SQL("DELETE FROM {}").format(sql.Identifier(name)) for name in tables
        ]
        self._deletes += [sql.SQL(statement) for statement in deletes]
        self._connection: psycopg.Connection | None = None

    def empty(self) -> None:
        """Delete all rows of the tables, and reset every used sequence of the database to 1."""
        try:
            self._connected().execute("SELECT pg_temp.empty()")
        except psycopg.OperationalError:
            # A test has ended all connections.
            self.close()
            self._connected().execute("SELECT pg_temp.empty()")

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> psycopg.Connection:
        if self._connection is None:
            # Foreign keys and triggers are off (role `replica`), so the order of the tables does not matter. Set for
            # the whole session: a change of this setting makes the server forget its plans.
            replica = "-c session_replication_role=replica"
            self._connection = psycopg.connect(self._url, autocommit=True, options=replica)
            self._connection.execute(self._function(self._connection.execute(_SEQUENCES).fetchall()))
        return self._connection

    def _function(self, sequences: Sequence[tuple[str, str]]) -> sql.Composed:
        """Return the definition of a function of this session, which keeps the plans of its statements.

        Planning the deletion of no rows takes longer than the deletion. TRUNCATE, which creates new files for every
        table and index, would take many times as long.
        """
        resets = [
            sql.SQL("IF (SELECT is_called FROM {}) THEN PERFORM setval({}, 1, false); END IF").format(
                sql.Identifier(*name), sql.Literal(sql.Identifier(*name).as_string())
            )
            for name in sequences
        ]
        body = sql.SQL("BEGIN {}; END").format(sql.SQL("; ").join([*self._deletes, *resets]))
        return sql.SQL("CREATE FUNCTION pg_temp.empty() RETURNS void LANGUAGE plpgsql AS {}").format(
            sql.Literal(body.as_string(self._connection))
        )
