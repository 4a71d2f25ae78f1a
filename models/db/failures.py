"""Which database errors mean that the database is away for now, so that the work is repeated later."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

_LOCK_NOT_AVAILABLE = "55P03"


def is_locked(error: BaseException) -> bool:
    """Return whether a statement gave up because another transaction holds a row for too long."""
    return isinstance(error, OperationalError) and getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE


def is_silent(error: BaseException) -> bool:
    """Return whether the database's server could not be reached, or did not answer."""
    return isinstance(error, OperationalError) and getattr(error.orig, "sqlstate", None) is None


def is_outage(error: BaseException) -> bool:
    """Return whether an error heals by itself: no connection, no answer in time, a lock, a deadlock, a standby.

    A server that has become read-only answers with an error of the statement; `models.db.session` drops its
    connections.
    """
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    return isinstance(error, OperationalError | InterfaceError | PoolTimeout)
