"""Functions that tell whether a database error is temporary, so that the work can be repeated later."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

_LOCK_NOT_AVAILABLE = "55P03"
_NOT_SET_UP = {
    "3F000": "undefined schema",
    "42501": "missing privilege",
    "42703": "undefined column",
    "42883": "undefined function",
    "42P01": "undefined table",
}


def is_locked(error: BaseException) -> bool:
    """Return whether the error means that a statement waited too long for a lock that another transaction holds."""
    return isinstance(error, OperationalError) and getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE


def is_silent(error: BaseException) -> bool:
    """Return whether the error means that the database server could not be reached or did not answer."""
    return isinstance(error, OperationalError) and getattr(error.orig, "sqlstate", None) is None


def is_outage(error: BaseException) -> bool:
    """Return whether the error is temporary, so that the work can be repeated later.

    True if there is no connection, no answer in time, a lock that was not released in time, or a deadlock; also for a
    write on a server that has become a read-only standby, which `models.db.session` marks as a lost connection.
    """
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    return isinstance(error, OperationalError | InterfaceError | PoolTimeout)


def can_be_repeated(error: BaseException) -> bool:
    """Return whether the failed work can be repeated unchanged: a temporary error, or a database not yet set up.

    Not set up means that a privilege, table, column or function is missing, as before a migration.
    """
    if isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in _NOT_SET_UP:
        return True
    return is_outage(error)
