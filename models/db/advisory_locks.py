"""PostgreSQL advisory locks, for work that only one transaction may do at a time and that has no row to lock."""

from __future__ import annotations

import time
from enum import IntEnum, unique

import sqlalchemy as sa
from sqlalchemy.orm import Session

_ASK_AGAIN = 0.5
"""Seconds between two tries to hold a lock."""


@unique
class AdvisoryLock(IntEnum):
    """Advisory locks with a fixed number: one number for each kind of work."""

    MIGRATION = 7_331_001
    CUSTOMER_IMPORT = 7_331_002
    DEMO = 7_331_003
    REGISTRAR_SCHEMA = 7_331_004


def take_advisory_lock(on: Session | sa.Connection, lock: AdvisoryLock | str) -> None:
    """Wait until no other transaction holds the lock, then hold the lock until the transaction ends.

    A text names a lock for one subject, as `bulk 17`; two texts share a lock only if their 64-bit hashes agree.
    """
    key = sa.func.hashtextextended(lock, 0) if isinstance(lock, str) else int(lock)
    on.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))


def hold_advisory_lock(on: sa.Connection, lock: AdvisoryLock) -> None:
    """Wait until nobody holds the lock, then hold it until the connection is closed.

    Asks again and again with no transaction open: one that waits inside the server would keep an index from being
    built concurrently, for which its holder may need the lock.
    """
    while not on.scalar(sa.select(sa.func.pg_try_advisory_lock(int(lock)))):
        on.commit()
        time.sleep(_ASK_AGAIN)
    on.commit()
