"""The day on which a request takes effect: checking a typed day, and listing the requests that wait for their day."""

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
from models.states import ENDED, RESERVING

LONGEST_AHEAD = timedelta(days=366)
"""How long before its effective day a request can be made."""


def day_to_wait_for(typed: date | None, now: datetime) -> date | None:
    """Return the day in Berlin on which a request takes effect, or None if it does so at once.

    `typed` is the requested day; None, like today, means at once. Raises `InvalidField` for `effective_on` if the day
    is over or more than `LONGEST_AHEAD` (366 days) away.
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
    """Return, by account id, what is planned: the requests with an effective day that have not ended, in its order.

    Moves and requests for numbers are included without a day, too, and come first: they may wait for a proof for weeks.
    Accounts without such a request have no entry.
    """
    found: dict[int, list[Request]] = {}
    for request in session.scalars(_planned(), {"account_ids": list(account_ids)}):
        assert request.account_id is not None
        found.setdefault(request.account_id, []).append(request)
    return found


@cache
def _planned() -> sa.Select[Request]:
    """Return a query for what is planned for the accounts in the parameter `account_ids`.

    It is sorted by the effective day. The query is built once, because it runs very often.
    """
    ids = sa.bindparam("account_ids", type_=postgresql.ARRAY(sa.BigInteger))
    query = sa.select(Request).where(
        Request.account_id == sa.any_(ids),
        sa.or_(Request.effective_on.is_not(None), Request.kind.in_(RESERVING)),
        Request.status.not_in(ENDED),
    )
    return query.order_by(Request.effective_on.nulls_first(), Request.id)
