"""A storage for the counters of failed attempts in the portal's database, for when no Redis is configured."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from limits.storage import Storage
from limits.storage.base import SlidingWindowCounterSupport
from sqlalchemy.exc import SQLAlchemyError

from models.db.session import Database
from models.people.attempt_counts import count_attempts, sliding_window

SCHEME = "standorte"


class DatabaseStorage(Storage, SlidingWindowCounterSupport):
    """A storage for the package `limits` that keeps its counters in the portal's database.

    It supports only the strategy "sliding-window-counter". Each call is a transaction of its own.
    """

    STORAGE_SCHEME = [SCHEME]  # noqa: RUF012 - as its base class has it

    def __init__(self, uri: str, wrap_exceptions: bool = False, *, database: Database, **options: Any) -> None:
        super().__init__(uri, wrap_exceptions=wrap_exceptions, **options)
        self._database = database

    @property
    def base_exceptions(self) -> type[Exception]:
        """Return the class of the exceptions that a call raises if the database does not answer."""
        return SQLAlchemyError

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Add `amount` attempts to the counter `key`, unless it would exceed `limit`; return whether they were added.

        The sliding window is `expiry` seconds long.
        """
        with self._database.transaction() as session:
            return count_attempts(session, key, limit, expiry, amount)

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """Return the state of the counter `key`, whose windows are `expiry` seconds long.

        The four values are the attempts in the previous window, the seconds for which they still count, the attempts in
        the present window, and the seconds for which these still count.
        """
        with self._database.transaction() as session:
            found = sliding_window(session, key, expiry)
        return found.attempts_before, found.left_before, found.attempts, found.left

    def check(self) -> bool:
        """Return whether the database answers."""
        try:
            with self._database.transaction() as session:
                session.execute(sa.text("SELECT FROM attempt_counts LIMIT 1"))
        except SQLAlchemyError:
            return False
        return True

    def clear_sliding_window(self, key: str, expiry: int) -> None:
        """Raise `NotImplementedError`: the web application never calls this method."""
        raise NotImplementedError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Raise `NotImplementedError`: the web application never calls this method."""
        raise NotImplementedError

    def get(self, key: str) -> int:
        """Raise `NotImplementedError`: the web application never calls this method."""
        raise NotImplementedError

    def get_expiry(self, key: str) -> float:
        """Raise `NotImplementedError`: the web application never calls this method."""
        raise NotImplementedError

    def reset(self) -> int | None:
        """Raise `NotImplementedError`: the web application never calls this method."""
        raise NotImplementedError

    def clear(self, key: str) -> None:
        """Raise `NotImplementedError`: the web application never calls this method."""
        raise NotImplementedError
