"""Limits on what a company may request: open orders at one time, and number blocks, letters and mails in one day.

A company is a main account with all orders for it. Invitations that the local team of a sub-account sends count for
that account alone. The carrier sets the usual limits as settings, and can give a company limits of its own. A day lasts
from midnight to midnight in Germany.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.calendar_days import BERLIN, berlin_day
from models.db.advisory_locks import take_advisory_lock
from models.db.base import Base, enumeration
from models.db.batch_insert import batch_insert
from models.errors import LimitReached


class Limit(StrEnum):
    """The things whose number is limited for each company.

    `OPEN_ORDERS` are orders that have not ended, limited at one time. The others are limited in one day: `BLOCKS` are
    number blocks, one for each order, request for more numbers, or move that replaces some; `LETTERS` are letters to
    prove a connection address; `CONTACTS` are e-mail addresses of contacts that are new to the company; `INVITATIONS`
    are mails that invite a person; and `CONSENTS` are link requests that ask the administrators of an account for
    consent.
    """

    OPEN_ORDERS = "open_orders"
    BLOCKS = "blocks"
    LETTERS = "letters"
    CONTACTS = "contacts"
    INVITATIONS = "invitations"
    CONSENTS = "consents"


@dataclass(frozen=True, slots=True)
class Limits:
    """The greatest numbers allowed to one company: open orders at one time, everything else in one day in Germany.

    `blocks` are number blocks, `letters` letters with a code to prove an address, `contacts` e-mail addresses of new
    contacts, `invitations` mails that invite people, and `consents` link requests that ask for consent.
    """

    open_orders: int = 200
    blocks: int = 100
    letters: int = 50
    contacts: int = 100
    invitations: int = 100
    consents: int = 500

    def of(self, limit: Limit) -> int:
        """Return the greatest number that these limits allow for the given kind of limit."""
        return int(getattr(self, limit))


USUAL_LIMITS = Limits()
"""The limits of companies without limits of their own, unless a setting changes them."""


class OwnLimits(Base):
    """The limits that the carrier has set for one company, whose account is `account_id`; null: the usual limit."""

    __tablename__ = "own_limits"

    account_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"), primary_key=True, autoincrement=False)
    open_orders: Mapped[int | None]
    blocks: Mapped[int | None]
    letters: Mapped[int | None]
    contacts: Mapped[int | None]
    invitations: Mapped[int | None]
    consents: Mapped[int | None]

    __table_args__ = (
        sa.CheckConstraint("open_orders > 0 AND blocks > 0 AND letters > 0 AND contacts > 0", name="above_zero"),
        sa.CheckConstraint("invitations > 0 AND consents > 0", name="mails_above_zero"),
    )


class DailyUse(Base):
    """How much of one limit a company has used on one day in Germany.

    `what` is the limit; `used` is the number of things, such as letters, that were requested on that day.
    """

    __tablename__ = "daily_uses"

    account_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"), primary_key=True, autoincrement=False)
    day: Mapped[date] = mapped_column(primary_key=True)
    what: Mapped[Limit] = mapped_column(enumeration(Limit, "what"), primary_key=True)
    used: Mapped[int]

    ON_CONFLICT = "(account_id, day, what) DO UPDATE SET used = daily_uses.used + excluded.used"
    __table_args__ = (
        sa.CheckConstraint("used > 0", name="used_above_zero"),
        sa.Index("ix_daily_uses_day", "day"),
    )

    @classmethod
    def left_over(cls, now: datetime) -> sa.ColumnElement[bool]:
        """Return an SQL condition for rows that may be deleted: their day is over, so no limit needs them any more."""
        return cls.day < berlin_day(now)


def limits_of(session: Session, account_id: int, usual: Limits) -> Limits:
    """Return the limits that apply to a company: its own where the carrier has set some, otherwise those in `usual`.

    `account_id` is the id of the company's account.
    """
    return with_own(session.get(OwnLimits, account_id), usual)


def with_own(own: OwnLimits | None, usual: Limits) -> Limits:
    """Return the limits of a company: each one that `own` sets, and the others from `usual`.

    `own` is None if the company has no limits of its own.
    """
    if own is None:
        return usual
    given = {field.name: getattr(own, field.name) for field in fields(Limits)}
    return replace(usual, **{name: value for name, value in given.items() if value is not None})


def set_own_limits(session: Session, account_id: int, given: Mapping[Limit, int | None]) -> dict[Limit, int | None]:
    """Set a company's own limits: a number replaces a limit, None restores the usual limit; limits not in `given` stay.

    Returns the entries of `given` that differ from what was set before.
    """
    own = session.get(OwnLimits, account_id) or OwnLimits(account_id=account_id)
    changed = {limit: value for limit, value in given.items() if getattr(own, limit) != value}
    for limit, value in changed.items():
        setattr(own, limit, value)
    session.add(own)
    return changed


def lock_limits(session: Session, account_id: int) -> None:
    """Take the advisory lock on the company's limits: wait for it, and hold it until the transaction ends.

    The lock prevents two transactions from both using the last of what a limit allows. No row is locked. `account_id`
    is the account on which the uses are counted (`daily_uses.account_id`). For an order or a link it is the main
    account. For an invitation it is the main account if the inviting person has access by a role there, otherwise the
    account to which they invite.
    """
    take_advisory_lock(session, limits_lock(account_id))


def limits_lock(account_id: int) -> str:
    """Return the name of the advisory lock on the limits of the company with this account."""
    return f"limits {account_id}"


def used_today(session: Session, account_id: int, now: datetime) -> dict[Limit, int]:
    """Return how much of each limit the company has used today (in Germany); a limit that was not used has no entry."""
    today = sa.select(DailyUse.what, DailyUse.used).where(
        DailyUse.account_id == account_id, DailyUse.day == berlin_day(now)
    )
    return {row.what: row.used for row in session.execute(today)}


def add_uses(session: Session, account_id: int, uses: Mapping[Limit, int], now: datetime) -> None:
    """Add to the company's counts of today, at the next flush: `uses` maps each limit to the number of new uses.

    The caller must have called `lock_limits` and compared the counts with the limits, and must flush before it reads
    the counts again.
    """
    for what, count in uses.items():
        if count:
            batch_insert(session, DailyUse, account_id=account_id, day=berlin_day(now), what=what, used=count)


def take_one(session: Session, account_id: int, limit: Limit, now: datetime, usual: Limits) -> None:
    """Count one more use of `limit` for the company today and flush, or raise `LimitReached` if the limit is used up.

    `limit` is one that is counted by day, and `usual` are the limits of companies without limits of their own. Holds
    the lock on the company's limits (`lock_limits`) until the transaction ends.
    """
    lock_limits(session, account_id)
    allowed = limits_of(session, account_id, usual).of(limit)
    if used_today(session, account_id, now).get(limit, 0) >= allowed:
        raise LimitReached(limit, allowed, next_day(now))
    add_uses(session, account_id, {limit: 1}, now)
    session.flush()


def next_day(now: datetime) -> datetime:
    """Return the next midnight in Germany, in UTC: the moment at which all daily counts start again at 0."""
    tomorrow = berlin_day(now) + timedelta(days=1)
    return datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=BERLIN).astimezone(UTC)
