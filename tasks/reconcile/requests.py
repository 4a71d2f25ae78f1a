"""Job `requests`: find requests that are overdue or held for long, which due times and leases should prevent."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.requests.requests import Request
from models.states import Status
from tasks.reconcile.job_run import Run

NOT_PICKED_UP = timedelta(minutes=5)
"""So long after it was due a request must be in somebody's hands."""
LONG_HELD = timedelta(days=1)
SOME_TIME = timedelta(minutes=1)
"""What a sweep and a busy worker may need after a lease or a deadline has ended."""
PAGE = 200


def reconcile_requests(run: Run) -> None:
    """Make overdue requests due again, and report requests that are held for long to the back office.

    Safe to run twice: only the due time of a request changes.
    """
    after = uuid.UUID(int=0)
    while page := _page(run, after):
        after = page[-1]


def _page(run: Run, after: uuid.UUID) -> Sequence[uuid.UUID]:
    now = run.now
    with run.transaction() as session:
        requests = _standing_still(session, now, after)
        for request in requests:
            run.counts["looked_at"] += 1
            _judge(run, request, now)
        return [request.id for request in requests]


def _standing_still(session: Session, now: datetime, after: uuid.UUID) -> Sequence[Request]:
    # A request that a worker has locked is being processed.
    return session.scalars(
        sa.select(Request)
        .where(
            Request.id > after,
            sa.or_(
                sa.and_(Request.lease.is_(None), Request.due_at < now - NOT_PICKED_UP),
                sa.and_(Request.lease.is_not(None), Request.due_at < now - SOME_TIME),
                sa.and_(Request.lease.is_(None), Request.waiting_until < now - SOME_TIME, Request.due_at > now),
                sa.and_(Request.status.in_((Status.HELD, Status.FAILED)), Request.updated_at < now - LONG_HELD),
            ),
        )
        .order_by(Request.id)
        .limit(PAGE)
        .with_for_update(skip_locked=True)
    ).all()


def _judge(run: Run, request: Request, now: datetime) -> None:
    due_at, deadline = request.due_at, request.waiting_until
    if due_at is not None and due_at <= now:
        # The request keeps its place in the queue.
        kind = "left_by_worker" if request.lease is not None else "not_picked_up"
        request.make_due(due_at)
        _find(run, kind, request, due_at)
    elif deadline is not None and deadline <= now:
        request.make_due(now)
        _find(run, "past_deadline", request, deadline)
    if request.status is Status.HELD and request.updated_at < now - LONG_HELD:
        _find(run, "held_long", request, request.updated_at, repaired=False)
    if request.status is Status.FAILED:
        _find(run, "failed_long", request, request.updated_at, repaired=False)


def _find(run: Run, kind: str, request: Request, since: datetime, *, repaired: bool = True) -> None:
    run.find(
        kind,
        str(request.id),
        repaired=repaired,
        customer_number=request.customer_number,
        status=request.status,
        step=request.step,
        since=since.isoformat(),
        **({"reason": request.reason} if request.reason is not None else {}),
    )
