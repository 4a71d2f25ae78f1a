"""The order of what is planned for a contract: each change on top of those before it, and nothing after its end."""

from __future__ import annotations

from datetime import date, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session, object_session

from models.errors import InvalidField, LaterChangePlanned
from models.requests.requests import Request
from models.states import ENDED, Kind


def ensure_no_later_change(request: Request) -> None:
    """Raise `LaterChangePlanned` if a later change of the same trunk is planned; it has to be cancelled first.

    The price of the later change was agreed on top of this one, and would be wrong without it. Does nothing for
    requests that are no changes.
    """
    session = object_session(request)
    if request.kind is not Kind.CHANGE or session is None:
        return
    later = sa.select(sa.func.max(Request.effective_on)).where(
        Request.changed_trunk_id == request.changed_trunk_id,
        Request.kind == Kind.CHANGE,
        Request.status.not_in(ENDED),
        Request.id != request.id,
    )
    if request.effective_on is not None:
        later = later.where(Request.effective_on > request.effective_on)
    day = session.scalar(later)
    if day is not None:
        raise LaterChangePlanned(request.status, day)


def running_cancellation(session: Session, account_id: int) -> Request | None:
    """Return the running request that cancels the account, which has one at most; None if there is none."""
    return session.scalar(
        sa.select(Request).where(
            Request.account_id == account_id, Request.kind == Kind.CANCEL, Request.status.not_in(ENDED)
        )
    )


def first_day_without(cancellation: Request) -> date:
    """Return the first day in Berlin on which the cancelled account has no contract."""
    assert cancellation.effective_on is not None
    return cancellation.effective_on


def last_day_of(cancellation: Request) -> date:
    """Return the last day, in Berlin, of the contracts that a cancellation ends."""
    return first_day_without(cancellation) - timedelta(days=1)


def ensure_before_end(session: Session, account_id: int, day: date) -> None:
    """Raise `InvalidField` for `effective_on` if the account is cancelled and has no contract on that day in Berlin."""
    ending = running_cancellation(session, account_id)
    if ending is not None and day >= first_day_without(ending):
        raise InvalidField("effective_on", "contract_ends", last_day_of(ending))
