"""The door to the database: one engine a process, transactions as one visible `with` block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from models.db.batch_insert import BatchSession


class Database:
    """An engine with its pool, and sessions on it. Nothing connects before the first transaction.

    Sessions do not flush before queries: writes of a batch go out together, and code that needs a key
    flushes where one can see it.
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
        """A session in a transaction: committed at the end, rolled back if anything is raised."""
        with self._sessions.begin() as session:
            yield session

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def _forget_values(context: sa.engine.ExceptionContext) -> None:
    """Errors end up in logs, and what PostgreSQL says repeats values: names and addresses."""
    told, wrapped = context.original_exception, context.sqlalchemy_exception
    code = getattr(told, "sqlstate", None)
    if code is None:
        return
    constraint = getattr(getattr(told, "diag", None), "constraint_name", None)
    short = " ".join(filter(None, (type(told).__name__, code, constraint)))
    told.args = (short,)
    if wrapped is not None:
        wrapped.args = (short,)
