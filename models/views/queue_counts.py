"""Counts for the metrics: requests and messages by state, waiting times of each kind of work, free numbers."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

# Views with these columns only: the role that counts sees no customer.
_REQUESTS = sa.table(
    "queue_of_requests",
    sa.column("status", sa.Text),
    sa.column("step", sa.Text),
    sa.column("due_at", sa.TIMESTAMP(timezone=True)),
)
_MESSAGES = sa.table("queue_of_messages", sa.column("state", sa.Text))
_OLDEST = sa.table("oldest_of_work", sa.column("work", sa.Text), sa.column("due_at", sa.TIMESTAMP(timezone=True)))
_FREE = sa.table(
    "free_numbers", sa.column("area_code", sa.Text), sa.column("size", sa.Integer), sa.column("free", sa.Integer)
)


def request_counts(session: Session) -> list[tuple[str, str, int]]:
    """Return the numbers of requests as triples of status, step, and number of requests with this status and step."""
    rows = session.execute(
        sa.select(_REQUESTS.c.status, _REQUESTS.c.step, sa.func.count()).group_by(_REQUESTS.c.status, _REQUESTS.c.step)
    )
    return [(str(status), str(step), count) for status, step, count in rows]


def oldest_due(session: Session, now: datetime) -> datetime | None:
    """Return the time since which the longest waiting request has been due; None if no request waits for a worker."""
    oldest: datetime | None = session.scalar(
        sa.select(sa.func.min(_REQUESTS.c.due_at)).where(_REQUESTS.c.due_at <= now)
    )
    return oldest


def oldest_of_work(session: Session, now: datetime) -> list[tuple[str, float]]:
    """Return pairs of a kind of work and the seconds for which its oldest row has waited for a worker.

    The seconds are 0 if no row waits.
    """
    rows = session.execute(sa.select(_OLDEST.c.work, _OLDEST.c.due_at).order_by(_OLDEST.c.work))
    return [(str(work), max(0.0, (now - due_at).total_seconds()) if due_at else 0.0) for work, due_at in rows]


def free_numbers(session: Session) -> list[tuple[str, int, int]]:
    """Return triples of area code, block size and number of free blocks.

    There is a triple for each area code and size of which there are unassigned blocks, even if none of them is free
    yet.
    """
    rows = session.execute(sa.select(_FREE.c.area_code, _FREE.c.size, _FREE.c.free).order_by(*_FREE.c))
    return [(str(area_code), size, free) for area_code, size, free in rows]


def message_counts(session: Session) -> list[tuple[str, int]]:
    """Return the numbers of messages as pairs of state and number of messages in this state."""
    rows = session.execute(sa.select(_MESSAGES.c.state, sa.func.count()).group_by(_MESSAGES.c.state))
    return [(str(state), count) for state, count in rows]
