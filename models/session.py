"""The door to the database: one engine a process, transactions as one visible `with` block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from models.later import BatchSession


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
            connect_args={
                "connect_timeout": 5,
                "application_name": "standorte",
                "options": "-c timezone=UTC -c lock_timeout=10s -c idle_in_transaction_session_timeout=60s",
            },
        )
        self._sessions = sessionmaker(self.engine, class_=BatchSession, autoflush=False, expire_on_commit=False)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A session in a transaction: committed at the end, rolled back if anything is raised."""
        with self._sessions.begin() as session:
            yield session

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()
