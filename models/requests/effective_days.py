"""The day from which a request counts: which days can be asked for, and which requests wait for theirs."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime, timedelta
from functools import cache

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from models.calendar_days import berlin_day
from models.errors import InvalidField
from models.requests.requests import Request
from models.states import ENDED

LONGEST_AHEAD = timedelta(days=366)
"""How long before its day a request can be made."""


def day_to_wait_for(typed: date | None, now: datetime) -> date | None:
    """Return the day in Berlin with whose start a request takes effect; None, also for today, if it does at once.

    Raises `InvalidField` for the field `effective_on` if the day is over or more than `LONGEST_AHEAD` away.
    """
    today = berlin_day(now)
    if typed is None or typed == today:
        return None
    if typed < today:
        raise InvalidField("effective_on", "day_passed")
    if typed > today + LONGEST_AHEAD:
        raise InvalidField("effective_on", "day_too_far", today + LONGEST_AHEAD)
    return typed


def planned_of(session: Session, account_ids: Collection[int]) -> dict[int, list[Request]]:
    """Return by account id the running requests that have a day, in the order of their days; others have no entry."""
    found: dict[int, list[Request]] = {}
    for request in session.scalars(_planned(), {"account_ids": list(account_ids)}):
        assert request.account_id is not None
        found.setdefault(request.account_id, []).append(request)
    return found


@cache
def _planned() -> sa.Select[Request]:
    """Return the query of `planned_of`: built once, because it runs at each view of the overview."""
    ids = sa.bindparam("account_ids", type_=postgresql.ARRAY(sa.BigInteger))
    query = sa.select(Request).where(
        Request.account_id == sa.any_(ids), Request.effective_on.is_not(None), Request.status.not_in(ENDED)
    )
    return query.order_by(Request.effective_on, Request.id)
