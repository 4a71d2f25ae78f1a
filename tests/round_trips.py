"""Counts the round trips between a program and PostgreSQL, by the trace of the protocol that libpq writes."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from psycopg import pq

from models.db.session import Database

PREPARED = 8
"""How often a statement runs until psycopg has prepared it on its connection, so that it takes one round trip."""


@dataclass(slots=True)
class Traffic:
    """The numbers of round trips to PostgreSQL and of transactions in a `with` block; both are 0 until it has ended.

    A round trip ends with the server's message `ReadyForQuery`, so BEGIN and COMMIT count unless they are sent together
    with a statement. Preparing a statement takes one more round trip; psycopg does it once for each connection, when
    the statement has run there a few times.
    """

    round_trips: int = 0
    transactions: int = 0


@contextmanager
def traffic(database: Database) -> Iterator[Traffic]:
    """Count the round trips and transactions of the database's connections inside the `with` block.

    No connection may be in use when the block begins. The counts are set in the yielded object when the block ends.
    """
    found = Traffic()
    with tempfile.TemporaryFile("w+") as file:

        def begin(connection: Any, *_: object) -> None:
            connection.pgconn.trace(file.fileno())
            connection.pgconn.set_trace_flags(pq.Trace.SUPPRESS_TIMESTAMPS)

        def end(connection: Any, *_: object) -> None:
            if connection is not None:
                connection.pgconn.untrace()

        sa.event.listen(database.engine, "checkout", begin, insert=True)
        sa.event.listen(database.engine, "checkin", end)
        try:
            yield found
        finally:
            sa.event.remove(database.engine, "checkout", begin)
            sa.event.remove(database.engine, "checkin", end)
            file.seek(0)
            states = re.findall(r"^B\t\d+\tReadyForQuery\t (\w)", file.read(), re.MULTILINE)
            found.round_trips, found.transactions = len(states), states.count("I")
