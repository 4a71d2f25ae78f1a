"""Detachments on a day: which one is planned, who may ask for another day, and what contradicts."""

from __future__ import annotations

import uuid
from datetime import date, datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.calendar_days import berlin_day
from models.errors import AlreadyRequested, InvalidField
from models.people.rights import LEADS, Principal
from models.people.users import Membership
from models.requests.request_rights import may_change
from models.requests.requests import Request
from models.states import CONTRACT_CHANGES, ENDED, Kind, Reason, Status


def running_detach(session: Session, account: Account, *, lock: bool = False) -> Request | None:
    """Return the running request that detaches the account from its main account; None if there is none.

    `lock` locks the request, and reads it as it is now.
    """
    query = sa.select(Request).where(
        Request.account_id == account.id,
        Request.main_id == account.main_id,
        Request.kind == Kind.DETACH,
        Request.status.not_in(ENDED),
    )
    if lock:
        query = query.with_for_update().execution_options(populate_existing=True)
    return session.scalar(query)


def end_planned_detach(session: Session, account: Account, reason: Reason, now: datetime) -> None:
    """Reject, for `reason`, the account's running detach request, planned for a day or not.

    One that another transaction has locked is skipped and is rejected when its day comes.
    """
    planned = sa.select(Request).where(
        Request.account_id == account.id, Request.kind == Kind.DETACH, Request.status.not_in(ENDED)
    )
    for request in session.scalars(planned.order_by(Request.id).with_for_update(skip_locked=True)):
        request.reject(reason, now)


def ensure_no_change_is_lost(session: Session, account: Account, day: date | None, now: datetime) -> None:
    """Raise `InvalidField` if a change of the account's contract is planned by people who would lose the account.

    That is a change, or numbers to be added, that takes effect on the day of the detachment (None: today) or later, or
    waits for us, and was asked for by a person without a role of their own in the account that changes contracts. The
    error has the last day of these, or today. A cancellation goes on: the account's own administrators can take it
    back.
    """
    keeps = sa.select(Membership.user_id).where(
        Membership.account_id == account.id, Membership.role.in_(LEADS), Membership.user_id == Request.requested_by
    )
    today = berlin_day(now)
    lost = sa.select(sa.func.max(sa.func.greatest(Request.effective_on, today))).where(
        Request.account_id == account.id,
        Request.kind.in_(CONTRACT_CHANGES),
        Request.status.not_in(ENDED),
        # Without a day it is done at once, unless its numbers have to be stocked first.
        sa.or_(Request.effective_on >= (day or today), Request.status == Status.HELD),
        ~keeps.exists(),
    )
    last = session.scalar(lost)
    if last is not None:
        raise InvalidField("effective_on", "change_is_lost", last)


def give_way(
    session: Session, principal: Principal, planned: Request, day: date | None, now: datetime
) -> uuid.UUID | None:
    """Cancel the planned detach request `planned`, because the person asks for another day (`day`; None: at once).

    `planned` is locked. Return the id of the other side's request to restore if the new one ends without success
    (`models.requests.displaced_detach`): `planned` itself if the other side made it, else the one that `planned` had
    displaced; None without one. So moving one's own plan never removes the other side's. Either side may have the
    account detached at any time, and neither may keep it.

    Raises `AlreadyRequested` if `planned` is for that day, at once, or being worked on already, and `InvalidField` if
    the day is later than that of the other side.
    """
    before = planned.effective_on
    if before is None or before == day or not planned.is_scheduled(now) or not planned.can_cancel:
        raise AlreadyRequested(str(planned.id))
    others: Request | None = planned
    if may_change(session, principal, planned):
        others = session.get(Request, planned.displaced_id) if planned.displaced_id is not None else None
    limit = others.effective_on if others is not None else None
    if day is not None and limit is not None and day > limit:
        raise InvalidField("effective_on", "detach_planned", limit)
    planned.cancel(Reason.CANCELLED_BY_REQUESTER, now)
    if day is None:
        planned.note(now, "detach_brought_forward")
    else:
        planned.note(now, "detach_moved", day=day.isoformat())
    # Of two requests only one may run.
    session.flush()
    return others.id if others is not None else None
