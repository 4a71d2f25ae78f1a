"""Rows that something has to happen to: when, in whose hands, how often it went wrong. The row is the queue.

`due_at` is when the row may be worked on, null when there is nothing to do. A worker claims it by setting a `lease`
and moving `due_at` to the lease's end, so that a worker that dies is replaced after it.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column


class Due:
    """What every such row has. The table adds a partial index on `due_at` and a check that a lease ends."""

    due_at: Mapped[datetime | None]
    lease: Mapped[uuid.UUID | None]
    attempts: Mapped[int] = mapped_column(default=0)

    def make_due(self, at: datetime) -> None:
        """Have it worked on from this moment; nobody holds it any more."""
        self.due_at = at
        self.lease = None

    def rest(self) -> None:
        """Nothing has to happen to it any more."""
        self.due_at = self.lease = None


class InBulk(Due):
    """What may be one of hundreds out of one file. It comes after everything that is due and stands alone.

    The table adds `alone_index`.
    """

    bulk_id: Mapped[uuid.UUID | None] = mapped_column(sa.ForeignKey("bulks.id"))


def due_index(table: str) -> sa.Index:
    """The index that `claim_due` goes by."""
    return sa.Index(f"ix_{table}_due_at", "due_at", postgresql_where=sa.text("due_at IS NOT NULL"))


def alone_index(table: str) -> sa.Index:
    """The same for what belongs to no bulk: found at once, however many others have been due for longer."""
    return sa.Index(
        f"ix_{table}_due_alone", "due_at", postgresql_where=sa.text("due_at IS NOT NULL AND bulk_id IS NULL")
    )


def lease_ends() -> sa.CheckConstraint:
    """Nobody holds a row for ever."""
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
    """Claim up to `limit` due rows of a table, those that have waited longest; returns their primary keys.

    Passes over what others are claiming. Until the lease ends nobody else works on them. What is not due is left
    alone, so calling it too often is safe. Rows of a bulk only fill up what the others leave free; where there are no
    others, up to `with_bulks` rows. So they delay nobody by more than what is being worked on.
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
        # Once, and not again for each row that it is compared with.
        .prefix_with("MATERIALIZED")
    )
    claim = sa.update(table).where(id == due.c[id.key]).values(lease=lease, due_at=until).returning(id)
    return list(session.scalars(claim.execution_options(synchronize_session=False)))


def count_due(session: Session, table: type[Due], now: datetime) -> int:
    """How many rows are due and in nobody's hands."""
    return session.scalar(sa.select(sa.func.count()).select_from(table).where(table.due_at <= now)) or 0
