"""Read requests page by page for a scheduled job, each page locked in a transaction of its own."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.requests.requests import Request
from tasks.reconcile.job_run import Run

PAGE = 200


def look_at_requests(run: Run, query: sa.Select[Request], look: Callable[[Session, Sequence[Request]], None]) -> None:
    """Call `look` with each page of the requests that the query finds, in a transaction of its own for each page.

    The requests are locked; those that another transaction has locked at this moment are skipped. Adds the number of
    requests to the run's count `looked_at`.
    """
    after: uuid.UUID | None = uuid.UUID(int=0)
    locking = query.order_by(Request.id).limit(PAGE).with_for_update(skip_locked=True)
    while after is not None:
        with run.transaction() as session:
            page = session.scalars(locking.where(Request.id > after)).all()
            after = page[-1].id if page else None
            run.counts["looked_at"] += len(page)
            look(session, page)
