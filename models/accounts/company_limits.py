"""Limits on what one company may ask for at one time and on one day, and what it has asked for on a day.

A company is a main account with everything that is ordered for it. The carrier sets the usual limits as settings and
can give a company limits of its own. A day is a day in Germany; the count begins anew at midnight.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.calendar_days import BERLIN, berlin_day
from models.db.advisory_locks import take_advisory_lock
from models.db.base import Base, enumeration
from models.errors import LimitReached


class Limit(StrEnum):
    """What is limited: orders that have not ended, and on a day what a company's calls send to others or take.

    Every order needs one number block. A contact is new if the company has never asked that e-mail address before.
    `INVITATIONS` are mails that invite a person, `CONSENTS` link requests that ask the administrators of an account.
    """

    OPEN_ORDERS = "open_orders"
    BLOCKS = "blocks"
    LETTERS = "letters"
    CONTACTS = "contacts"
    INVITATIONS = "invitations"
    CONSENTS = "consents"


@dataclass(frozen=True, slots=True)
class Limits:
    """The greatest numbers allowed to one company: of open orders at one time, and of the others on one day."""

    open_orders: int = 200
    blocks: int = 100
    letters: int = 50
    contacts: int = 100
    invitations: int = 100
    consents: int = 500

    def of(self, limit: Limit) -> int:
        """Return the greatest number allowed by this limit."""
        return int(getattr(self, limit))


USUAL_LIMITS = Limits()
"""The limits of companies that have none of their own, unless a setting says otherwise."""


class OwnLimits(Base):
    """The limits that the carrier has given to one company; None where the usual limit holds."""

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
    """How many number blocks, letters, new contacts, invitations or consents a company has asked for on a day."""

    __tablename__ = "daily_uses"

    account_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"), primary_key=True, autoincrement=False)
    day: Mapped[date] = mapped_column(primary_key=True)
    what: Mapped[Limit] = mapped_column(enumeration(Limit, "what"), primary_key=True)
    used: Mapped[int]

    __table_args__ = (
        sa.CheckConstraint("used > 0", name="used_above_zero"),
        sa.Index("ix_daily_uses_day", "day"),
    )

    @classmethod
    def left_over(cls, now: datetime) -> sa.ColumnElement[bool]:
        """Return an SQL condition: the day is over, so that nothing is counted in this row any more."""
        return cls.day < berlin_day(now)


def limits_of(session: Session, account_id: int, usual: Limits) -> Limits:
    """Return the limits of the company with this main account: its own, and the usual ones where it has none."""
    return with_own(session.get(OwnLimits, account_id), usual)


def with_own(own: OwnLimits | None, usual: Limits) -> Limits:
    """Return the usual limits, replaced by a company's own where it has some."""
    if own is None:
        return usual
    given = {field.name: getattr(own, field.name) for field in fields(Limits)}
    return replace(usual, **{name: value for name, value in given.items() if value is not None})


def set_own_limits(session: Session, account_id: int, given: Mapping[Limit, int | None]) -> None:
    """Give the company limits of its own; those that are not in `given` stay, None returns to the usual limit."""
    own = session.get(OwnLimits, account_id) or OwnLimits(account_id=account_id)
    for limit, value in given.items():
        setattr(own, limit, value)
    session.add(own)


def lock_limits(session: Session, account_id: int) -> None:
    """Wait until no other transaction counts something for this company, then count alone until this one ends.

    So two calls at the same time cannot both take the last of what a limit allows.
    """
    take_advisory_lock(session, f"limits {account_id}")


def used_today(session: Session, account_id: int, now: datetime) -> dict[Limit, int]:
    """Return what the company has used today, by limit; what it has not used is missing."""
    today = sa.select(DailyUse.what, DailyUse.used).where(
        DailyUse.account_id == account_id, DailyUse.day == berlin_day(now)
    )
    return {row.what: row.used for row in session.execute(today)}


def add_uses(session: Session, account_id: int, uses: Mapping[Limit, int], now: datetime) -> None:
    """Count further uses of the company for today.

    The caller has called `lock_limits`, and compared with the limits.
    """
    rows = [
        {"account_id": account_id, "day": berlin_day(now), "what": what, "used": count}
        for what, count in uses.items()
        if count
    ]
    if rows:
        insert = postgresql.insert(DailyUse).values(rows)
        added = {"used": DailyUse.used + insert.excluded.used}
        session.execute(
            insert.on_conflict_do_update(index_elements=[DailyUse.account_id, DailyUse.day, DailyUse.what], set_=added)
        )


def take_one(session: Session, account_id: int, limit: Limit, now: datetime, usual: Limits) -> None:
    """Count one more of what `limit` allows the company on a day. Raises `LimitReached` if it does not allow it.

    `usual` are the limits of companies that have none of their own.
    """
    lock_limits(session, account_id)
    allowed = limits_of(session, account_id, usual).of(limit)
    if used_today(session, account_id, now).get(limit, 0) >= allowed:
        raise LimitReached(limit, allowed, next_day(now))
    add_uses(session, account_id, {limit: 1}, now)


def next_day(now: datetime) -> datetime:
    """Return the next midnight in Germany, when the counts of a day begin anew."""
    tomorrow = berlin_day(now) + timedelta(days=1)
    return datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=BERLIN).astimezone(UTC)
