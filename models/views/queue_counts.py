"""Counts for the metrics: requests and messages by state, and how long the oldest due request has waited."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.messages.outbox import Message
from models.requests.requests import Request


def request_counts(session: Session) -> list[tuple[str, str, int]]:
    """Return triples of status, step and number of requests, for the metrics."""
    rows = session.execute(
        sa.select(Request.status, Request.step, sa.func.count()).group_by(Request.status, Request.step)
    )
    return [(str(status), str(step), count) for status, step, count in rows]


def oldest_due(session: Session, now: datetime) -> datetime | None:
    """Return the earliest time since which a request has waited for a worker to claim it; None if no request waits."""
    return session.scalar(sa.select(sa.func.min(Request.due_at)).where(Request.due_at <= now))


def message_counts(session: Session) -> list[tuple[str, int]]:
    """Return pairs of state and number of messages, for the metrics."""
    rows = session.execute(sa.select(Message.state, sa.func.count()).group_by(Message.state))
    return [(str(state), count) for state, count in rows]
