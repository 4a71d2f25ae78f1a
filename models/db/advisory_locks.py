"""Advisory locks of PostgreSQL: work that has no row to lock, one transaction at a time."""

from __future__ import annotations

from enum import IntEnum, unique

import sqlalchemy as sa
from sqlalchemy.orm import Session


@unique
class AdvisoryLock(IntEnum):
    """The locks that are named by a number; each kind of work has a number of its own."""

    MIGRATION = 7_331_001
    CUSTOMER_IMPORT = 7_331_002
    DEMO = 7_331_003
    REGISTRAR_SCHEMA = 7_331_004


def take_advisory_lock(on: Session | sa.Connection, lock: AdvisoryLock | str) -> None:
    """Wait until no other transaction holds this lock, and hold it until the transaction ends.

    A text names a lock for one subject, as `bulk 17`; two texts share a lock only if their 64-bit hashes agree.
    """
    key = sa.func.hashtextextended(lock, 0) if isinstance(lock, str) else int(lock)
    on.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))
