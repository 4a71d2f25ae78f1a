"""Rules for planned changes of a contract: no change after the contract's end, none cancelled before a later one."""

from __future__ import annotations

from datetime import date, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session, object_session

from models.errors import InvalidField, LaterChangePlanned
from models.requests.requests import Request
from models.states import ENDED, Kind, StepName


def ensure_no_later_change(request: Request) -> None:
    """Raise `LaterChangePlanned` if another change of the same trunk is planned for a later day than `request`.

    The price of the later change was agreed on the basis of this one, so the later one has to be cancelled first. Does
    nothing if `request` is not a change of a contract.
    """
    session = object_session(request)
    if request.kind is not Kind.CHANGE or session is None:
        return
    later = sa.select(sa.func.max(Request.effective_on)).where(
        Request.changed_trunk_id == request.changed_trunk_id,
        Request.kind == Kind.CHANGE,
        Request.status.not_in(ENDED),
        Request.step != StepName.CONFIRM,
        Request.id != request.id,
    )
    if request.effective_on is not None:
        later = later.where(Request.effective_on > request.effective_on)
    day = session.scalar(later)
    if day is not None:
        raise LaterChangePlanned(request.status, day)


def running_move(session: Session, account_id: int) -> Request | None:
    """Return the account's move, a request that has not ended yet, of which it has at most one; None without one."""
    return session.scalar(
        sa.select(Request).where(
            Request.account_id == account_id, Request.kind == Kind.MOVE, Request.status.not_in(ENDED)
        )
    )


def ensure_does_not_move(session: Session, account_id: int) -> None:
    """Raise `InvalidField` for `effective_on` while a move of the account is running, with which its numbers change."""
    moving = running_move(session, account_id)
    if moving is not None and moving.step is not StepName.CONFIRM:
        raise InvalidField("effective_on", "move_planned")


def running_cancellation(session: Session, account_id: int) -> Request | None:
    """Return the account's cancellation that has not ended yet; None if there is none. An account has at most one."""
    return session.scalar(
        sa.select(Request).where(
            Request.account_id == account_id, Request.kind == Kind.CANCEL, Request.status.not_in(ENDED)
        )
    )


def first_day_without(cancellation: Request) -> date:
    """Return the first day, in Berlin, on which the account has no contract because of `cancellation`."""
    assert cancellation.effective_on is not None
    return cancellation.effective_on


def last_day_of(cancellation: Request) -> date:
    """Return the last day, in Berlin, of the contracts that a cancellation ends."""
    return first_day_without(cancellation) - timedelta(days=1)


def ensure_before_end(session: Session, account_id: int, day: date) -> None:
    """Raise `InvalidField` for the field `effective_on` if a cancellation ends the account's contracts before `day`.

    `day` is a day in Berlin. Does nothing if no cancellation is planned.
    """
    ending = running_cancellation(session, account_id)
    if ending is not None and day >= first_day_without(ending):
        raise InvalidField("effective_on", "contract_ends", last_day_of(ending))
