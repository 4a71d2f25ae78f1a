"""Rules for detach requests: finding the running one, moving it to another day, and what forbids a detachment."""

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
from models.states import CONTRACT_CHANGES, ENDED, Kind, Reason, Status, StepName


def running_detach(session: Session, account: Account, *, lock: bool = False) -> Request | None:
    """Return the running request that detaches the account from its present main account; None if there is none.

    `lock` locks the request until the transaction ends, and reloads it.
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
    """Reject the account's running detach requests, whether planned for a day or not, with the given reason.

    A request that another transaction has locked is skipped; it is rejected later, when its day comes.
    """
    planned = sa.select(Request).where(
        Request.account_id == account.id, Request.kind == Kind.DETACH, Request.status.not_in(ENDED)
    )
    for request in session.scalars(planned.order_by(Request.id).with_for_update(skip_locked=True)):
        request.reject(reason, now)


def ensure_no_change_is_lost(session: Session, account: Account, day: date | None, now: datetime) -> None:
    """Raise `InvalidField` if people who would lose access by the detachment have planned a change for the account.

    These are people without a role of their own in the account that may change contracts. A planned change is one of
    the contract, a move, or a request for numbers, that takes effect on the day `day` of the detachment (None: today)
    or later, is held, or waits for a certificate of need or the proof of an address. The error's `allowed` is the last
    day of such a change, at least today. A cancellation is no obstacle: the account's administrators can withdraw it.
    Nor is a change that is made already and only waits for the network, such as a move.
    """
    keeps = sa.select(Membership.user_id).where(
        Membership.account_id == account.id, Membership.role.in_(LEADS), Membership.user_id == Request.requested_by
    )
    today = berlin_day(now)
    lost = sa.select(sa.func.max(sa.func.greatest(Request.effective_on, today))).where(
        Request.account_id == account.id,
        Request.kind.in_(CONTRACT_CHANGES),
        Request.status.not_in(ENDED),
        Request.step != StepName.CONFIRM,
        # Without a day it is done at once, unless its numbers have to be stocked first, or need a certificate. A move
        # waits for a proof, as soon as a worker has seen it.
        sa.or_(
            Request.effective_on >= (day or today),
            Request.status.in_((Status.HELD, Status.PENDING)),
            sa.and_(Request.kind == Kind.MOVE, Request.status == Status.ACKNOWLEDGED),
        ),
        ~keeps.exists(),
    )
    last = session.scalar(lost)
    if last is not None:
        raise InvalidField("effective_on", "change_is_lost", last)


def give_way(
    session: Session, principal: Principal, planned: Request, day: date | None, now: datetime
) -> uuid.UUID | None:
    """Cancel the planned detach request `planned`, because the person wants another day (`day`; None: at once).

    `planned` must be locked. Two sides can plan a detachment: the people of the sub-account and those of the main
    account. Returns the id of the other side's request, which is restored if the new request ends without success
    (`models.requests.displaced_detach`); None if the other side has none. That request is `planned` itself if the other
    side made `planned`, otherwise the one that `planned` had replaced. So moving one's own plan never removes that of
    the other side.

    Raises `AlreadyRequested` if `planned` is for the same day, at once, or already being processed, and `InvalidField`
    if the new day is later than the other side's day: no side can keep the account from leaving.
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
