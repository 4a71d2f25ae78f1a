"""Job `office`: mail the back office about requests that are held or have failed, and about bulk files that wait."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session, joinedload

from models.bulk.bulk import Bulk
from models.messages.outbox import Recipient, queue_message
from models.requests.moved_blocks import lacks_numbers
from models.requests.requests import Request
from models.states import Reason, Status
from models.values import Locale
from tasks.reconcile.job_run import Run
from tasks.wording.company_limits import WAITS
from tasks.wording.reasons import reason_text
from tasks.wording.translate import translate

SETTLED = timedelta(minutes=1)
"""How long a request must have been held or failed before the back office is told: some holds end by themselves."""
MOST_TOLD = 500
"""The most requests, and the most bulk files, that one mail reports; the next run reports the others."""
MOST_NAMED = 5
"""The most customer numbers that a line of the mail names."""
_LOCALE: Locale = "de"

log = structlog.get_logger()


def tell_office(run: Run) -> None:
    """Queue one mail to the back office about the requests and bulk files that wait for it and were not reported yet.

    Requests that are held or have failed are reported once for each reason, and a move for which the pool has too few
    numbers also while its address is not proved. Uploaded files that wait for a limit of the
    company are reported once. If no address of the back office is set, logs a warning and queues nothing; a later run
    reports them. Safe to run twice.
    """
    to = run.runtime.office_email
    with run.transaction() as session:
        now = run.now
        requests, bulks = _untold_requests(session, now), _untold_bulks(session)
        run.counts["requests"], run.counts["bulks"] = len(requests), len(bulks)
        if not requests and not bulks:
            return
        if to is None:
            log.warning("office.no_address", requests=len(requests), bulks=len(bulks))
            return
        facts = {
            "path": "/backoffice",
            "count": len(requests) + len(bulks),
            "lines": _lines((_cause(request), request.customer_number) for request in requests),
            "files": _lines((_limit_of(bulk), bulk.main.customer_number) for bulk in bulks),
        }
        queue_message(session, None, "office_digest", Recipient("", to, _LOCALE), facts, now, occasion=now.isoformat())
        for request in requests:
            request.office_told = _reason(request)
        for bulk in bulks:
            bulk.office_told_at = now


def _untold_requests(session: Session, now: datetime) -> list[Request]:
    held = Request.status.in_((Status.HELD, Status.FAILED))
    untold = Request.office_told.is_distinct_from(sa.cast(Request.reason, sa.Text))
    # Told now: there may be none left when its address is proved.
    short = (Request.status == Status.PENDING) & lacks_numbers()
    unnoticed = Request.office_told.is_distinct_from(Reason.NO_NUMBERS_AVAILABLE)
    waits = sa.or_(held & untold, short & unnoticed), Request.updated_at <= now - SETTLED
    query = sa.select(Request).where(*waits, Request.lease.is_(None)).order_by(Request.id).limit(MOST_TOLD)
    # A request that a worker holds is told of by the next run.
    return list(session.scalars(query.with_for_update(skip_locked=True)))


def _untold_bulks(session: Session) -> list[Bulk]:
    waiting = Bulk.waits_for.is_not(None), Bulk.office_told_at.is_(None), Bulk.lease.is_(None)
    query = sa.select(Bulk).where(*waiting).order_by(Bulk.id).limit(MOST_TOLD).options(joinedload(Bulk.main))
    return list(session.scalars(query.with_for_update(skip_locked=True, of=Bulk)))


def _lines(waiting: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """Return the mail's lines, one for each cause: how many wait for it, and up to five of their customer numbers.

    `waiting` are pairs of cause (a sentence) and customer number. Each line is a dict with the keys `cause`, `count`,
    `numbers` and `more`, the number of customer numbers left out (negative or 0 if none are).
    """
    causes: dict[str, list[str]] = {}
    for cause, number in waiting:
        causes.setdefault(cause, []).append(number)
    return [
        {"cause": cause, "count": len(numbers), "numbers": numbers[:MOST_NAMED], "more": len(numbers) - MOST_NAMED}
        for cause, numbers in causes.items()
    ]


def _limit_of(bulk: Bulk) -> str:
    assert bulk.waits_for is not None
    return translate(_LOCALE, WAITS[bulk.waits_for])


def _reason(request: Request) -> Reason:
    """Return why the request needs the office: a pending one is a move without enough numbers."""
    assert request.reason is not None
    return Reason.NO_NUMBERS_AVAILABLE if request.status is Status.PENDING else Reason(request.reason)


def _cause(request: Request) -> str:
    reason = _reason(request)
    said = reason_text(reason, _LOCALE)
    if reason is Reason.NO_NUMBERS_AVAILABLE:
        return f"{said} ({request.area_code}, {request.block_size})"
    return said
