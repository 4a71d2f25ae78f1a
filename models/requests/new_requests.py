"""Saving new requests, with the first of their steps due."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from models.db.batch_insert import batch_add
from models.requests.requests import Request


def create_request(session: Session, request: Request, now: datetime) -> Request:
    """Save a new request, with its id and times, and schedule its first step to run now. Return the request.

    A request with a day is scheduled for that day. The caller adds the first timeline entry.
    """
    request.created_at = request.updated_at = now
    request.make_due(max(now, request.effective_at))
    session.add(request)
    session.flush()
    return request


def queue_request(session: Session, request: Request, now: datetime) -> None:
    """Save a new request, which has its id, at the next flush (`batch_add`), and schedule its first step to run now.

    The caller adds the first timeline entry.
    """
    request.created_at = request.updated_at = now
    request.make_due(now)
    batch_add(session, request)
