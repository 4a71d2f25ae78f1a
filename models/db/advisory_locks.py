"""PostgreSQL advisory locks, for work that only one transaction may do at a time and that has no row to lock."""

from __future__ import annotations

import time
from enum import IntEnum, unique

import sqlalchemy as sa
from sqlalchemy.orm import Session

_HELD = "held_advisory_locks"
_ASK_AGAIN = 0.5
"""Seconds between two tries of `hold_advisory_lock` to get the lock."""


@unique
class AdvisoryLock(IntEnum):
    """The advisory locks with a fixed number: one for each kind of work that must not run twice at the same time."""

    MIGRATION = 7_331_001
    CUSTOMER_IMPORT = 7_331_002
    DEMO = 7_331_003
    REGISTRAR_SCHEMA = 7_331_004
    ROLES = 7_331_005


def take_advisory_lock(on: Session | sa.Connection, lock: AdvisoryLock | str) -> None:
    """Wait until no other transaction holds the lock, then hold the lock until the transaction ends.

    `lock` is one of the fixed locks, or a text that names what is locked, such as `bulk 17`. Different texts share a
    lock only if their 64-bit hashes are equal.
    """
    if isinstance(on, Session) and lock in on.info.get(_HELD, ()):
        return
    key = sa.func.hashtextextended(lock, 0) if isinstance(lock, str) else int(lock)
    on.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))


def advisory_lock_sql(lock: sa.BindParameter[str]) -> sa.ColumnElement[None]:
    """Return an SQL expression, for use in another statement, that waits for a lock and takes it.

    The lock is named by a text and held until the transaction ends.
    """
    return sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(lock, 0))


def note_advisory_lock(session: Session, lock: str) -> None:
    """Record that the session's transaction has already taken the lock with `advisory_lock_sql`.

    `take_advisory_lock` then does not take it again. Do not call this for a lock that was taken after a savepoint: a
    rollback to the savepoint would release the lock.
    """
    session.info.setdefault(_HELD, set()).add(lock)


def hold_advisory_lock(on: sa.Connection, lock: AdvisoryLock) -> None:
    """Wait until no other connection holds the lock, then hold the lock until the connection is closed.

    Tries every half second, with no transaction open in between: a transaction that waits inside the server would
    block CREATE INDEX CONCURRENTLY, which the holder of the lock may be running.
    """
    while not on.scalar(sa.select(sa.func.pg_try_advisory_lock(int(lock)))):
        on.commit()
        time.sleep(_ASK_AGAIN)
    on.commit()
