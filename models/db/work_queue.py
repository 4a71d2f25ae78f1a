"""Work queues kept in the tables themselves: each row records when it is due, its lease, and its failed attempts.

`due_at` is the time from which a worker may process the row; null if there is nothing to do. A worker claims the row
by setting `lease` and moving `due_at` to the end of the lease, so that another worker takes over if the first one dies.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column


class Due:
    """The columns of a table that is a work queue. The table must add `due_index` and `lease_ends`.

    `due_index` is a partial index on `due_at`; `lease_ends` is a check that every lease ends.
    """

    due_at: Mapped[datetime | None]
    lease: Mapped[uuid.UUID | None]
    attempts: Mapped[int] = mapped_column(default=0)

    def make_due(self, at: datetime) -> None:
        """Make the row due from this time on and end any worker's claim on the row."""
        self.due_at = at
        self.lease = None

    def rest(self) -> None:
        """Take the row out of the work queue and end any worker's claim on the row."""
        self.due_at = self.lease = None


class InBulk(Due):
    """The columns of a work queue whose rows may belong to a bulk, hundreds of rows from one uploaded file.

    Rows of a bulk are claimed after all due rows that belong to no bulk. The table must add `alone_index`.
    """

    bulk_id: Mapped[uuid.UUID | None] = mapped_column(sa.ForeignKey("bulks.id"))


def due_index(table: str) -> sa.Index:
    """Return the partial index on `due_at` by which `claim_due` finds due rows."""
    return sa.Index(f"ix_{table}_due_at", "due_at", postgresql_where=sa.text("due_at IS NOT NULL"))


def alone_index(table: str) -> sa.Index:
    """Return a partial index on `due_at` of the rows that belong to no bulk.

    With the index these rows are found at once, however many rows of bulks have been due for longer.
    """
    return sa.Index(
        f"ix_{table}_due_alone", "due_at", postgresql_where=sa.text("due_at IS NOT NULL AND bulk_id IS NULL")
    )


def lease_ends() -> sa.CheckConstraint:
    """Return the check that a row with a lease has a `due_at`, so that no claim lasts forever."""
    return sa.CheckConstraint("due_at IS NOT NULL OR lease IS NULL", name="lease_ends")


def claim_due(
    session: Session,
    table: type[Due],
    *,
    now: datetime,
    lease: uuid.UUID,
    until: datetime,
    limit: int,
    with_bulks: int | None = None,
) -> list[Any]:
    """Claim up to `limit` due rows of a table, the longest due first, and return their primary keys.

    `until` is the end of the lease; no other worker can claim the rows before then. Skips rows that another
    transaction is claiming, and never claims rows that are not due, so that extra calls are safe.

    Rows of a bulk are claimed only if fewer than `limit` other rows are due: up to the remaining number, and at most
    `with_bulks` rows (None: `limit`). If no other rows are due, up to `with_bulks` rows of bulks are claimed. So
    rows of bulks delay other rows only by the time that the rows already claimed take.
    """
    if not issubclass(table, InBulk):
        return _claim(session, table, sa.true(), now, lease, until, limit)
    alone = _claim(session, table, table.bulk_id.is_(None), now, lease, until, limit)
    if with_bulks is None:
        with_bulks = limit
    free = min(limit - len(alone), with_bulks) if alone else with_bulks
    if not free:
        return alone
    return alone + _claim(session, table, table.bulk_id.is_not(None), now, lease, until, free)


def _claim(
    session: Session,
    table: type[Due],
    which: sa.ColumnElement[bool],
    now: datetime,
    lease: uuid.UUID,
    until: datetime,
    limit: int,
) -> list[Any]:
    [id] = sa.inspect(table).primary_key
    due = (
        sa.select(id)
        .where(table.due_at <= now, which)
        .order_by(table.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
        # Evaluate the subquery once, not again for each row of the joined table.
        .prefix_with("MATERIALIZED")
    )
    claim = sa.update(table).where(id == due.c[id.key]).values(lease=lease, due_at=until).returning(id)
    return list(session.scalars(claim.execution_options(synchronize_session=False)))


def count_due(session: Session, table: type[Due], now: datetime) -> int:
    """Return the number of rows that are due and not claimed by any worker."""
    return session.scalar(sa.select(sa.func.count()).select_from(table).where(table.due_at <= now)) or 0
