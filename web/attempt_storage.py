"""Where the limits on failed attempts have their counters: in Redis, or else in the portal's database."""

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
    """The storage of the package `limits` for counters in the portal's database, with its strategy of sliding windows.

    Each call is a transaction of its own.
    """

    STORAGE_SCHEME = [SCHEME]  # noqa: RUF012 - as its base class has it

    def __init__(self, uri: str, wrap_exceptions: bool = False, *, database: Database, **options: Any) -> None:
        super().__init__(uri, wrap_exceptions=wrap_exceptions, **options)
        self._database = database

    @property
    def base_exceptions(self) -> type[Exception]:
        """Return the class of errors while the database is away."""
        return SQLAlchemyError

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Add `amount` attempts to the counter `key`, unless more than `limit` would count; return whether added.

        The window has `expiry` seconds.
        """
        with self._database.transaction() as session:
            return count_attempts(session, key, limit, expiry, amount)

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """Return attempts and seconds left of the window before, and of the present one, which has `expiry` seconds."""
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
        """Raise `NotImplementedError`, as all that follow: nothing here calls them."""
        raise NotImplementedError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Raise `NotImplementedError`."""
        raise NotImplementedError

    def get(self, key: str) -> int:
        """Raise `NotImplementedError`."""
        raise NotImplementedError

    def get_expiry(self, key: str) -> float:
        """Raise `NotImplementedError`."""
        raise NotImplementedError

    def reset(self) -> int | None:
        """Raise `NotImplementedError`."""
        raise NotImplementedError

    def clear(self, key: str) -> None:
        """Raise `NotImplementedError`."""
        raise NotImplementedError
