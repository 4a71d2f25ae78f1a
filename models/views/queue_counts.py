"""Counts for the metrics: requests and messages by state, and how long the oldest due request has waited."""

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


def request_counts(session: Session) -> list[tuple[str, str, int]]:
    """Return triples of status, step and number of requests, for the metrics."""
    rows = session.execute(
        sa.select(_REQUESTS.c.status, _REQUESTS.c.step, sa.func.count()).group_by(_REQUESTS.c.status, _REQUESTS.c.step)
    )
    return [(str(status), str(step), count) for status, step, count in rows]


def oldest_due(session: Session, now: datetime) -> datetime | None:
    """Return the earliest time since which a request has waited for a worker to claim it; None if no request waits."""
    oldest: datetime | None = session.scalar(
        sa.select(sa.func.min(_REQUESTS.c.due_at)).where(_REQUESTS.c.due_at <= now)
    )
    return oldest


def message_counts(session: Session) -> list[tuple[str, int]]:
    """Return pairs of state and number of messages, for the metrics."""
    rows = session.execute(sa.select(_MESSAGES.c.state, sa.func.count()).group_by(_MESSAGES.c.state))
    return [(str(state), count) for state, count in rows]
