"""Access to the database: one engine for each process, and each transaction as one visible `with` block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from models.db.batch_insert import BatchSession


class Database:
    """An engine with its connection pool, and sessions on the engine. Does not connect before the first transaction.

    Sessions do not flush before queries: the writes of a batch are sent together, and code that needs a generated
    key flushes explicitly.
    """

    def __init__(self, url: str, *, pool_size: int = 5) -> None:
        self.engine = sa.create_engine(
            url,
            pool_size=pool_size,
            max_overflow=5,
            pool_timeout=5,
            pool_recycle=1800,
            hide_parameters=True,
            connect_args={
                "connect_timeout": 5,
                "application_name": "standorte",
                "options": "-c timezone=UTC -c lock_timeout=10s -c idle_in_transaction_session_timeout=60s",
            },
        )
        sa.event.listen(self.engine, "handle_error", _forget_values)
        self._sessions = sessionmaker(self.engine, class_=BatchSession, autoflush=False, expire_on_commit=False)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Open a session in a transaction; commit at the end of the block, roll back if an exception is raised."""
        with self._sessions.begin() as session:
            yield session

    def close(self) -> None:
        """Close every connection of the pool."""
        self.engine.dispose()


def _forget_values(context: sa.engine.ExceptionContext) -> None:
    """Shorten a database error to its class, SQLSTATE and constraint name.

    Errors are logged, and PostgreSQL's messages repeat values such as names and addresses.
    """
    told, wrapped = context.original_exception, context.sqlalchemy_exception
    code = getattr(told, "sqlstate", None)
    if code is None:
        return
    constraint = getattr(getattr(told, "diag", None), "constraint_name", None)
    short = " ".join(filter(None, (type(told).__name__, code, constraint)))
    told.args = (short,)
    if wrapped is not None:
        wrapped.args = (short,)
