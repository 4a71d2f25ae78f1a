"""Tests of advisory locks: one transaction at a time holds a lock; different locks do not block each other."""

from __future__ import annotations

import itertools

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.db.advisory_locks import AdvisoryLock, take_advisory_lock
from models.db.session import Database

LOCKS = [*AdvisoryLock, "bulk 1", "bulk 2", "order 1 1234567"]


def take_at_once(session: Session, lock: AdvisoryLock | str) -> None:
    """Take the advisory lock; raise `OperationalError` if another transaction holds it for more than 50 ms."""
    session.execute(sa.text("SET LOCAL lock_timeout = '50ms'"))
    take_advisory_lock(session, lock)


@pytest.mark.parametrize("lock", LOCKS)
def test_one_transaction_at_a_time_holds_a_lock(database: Database, lock: AdvisoryLock | str) -> None:
    with database.transaction() as holder:
        take_advisory_lock(holder, lock)
        with pytest.raises(sa.exc.OperationalError), database.transaction() as other:
            take_at_once(other, lock)
    with database.transaction() as other:
        take_at_once(other, lock)


@pytest.mark.parametrize(("held", "wanted"), list(itertools.combinations(LOCKS, 2)))
def test_different_locks_are_in_nobodys_way(
    database: Database, held: AdvisoryLock | str, wanted: AdvisoryLock | str
) -> None:
    with database.transaction() as holder, database.transaction() as other:
        take_advisory_lock(holder, held)
        take_at_once(other, wanted)
