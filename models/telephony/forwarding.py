"""Call forwardings: where calls to an account go, under which condition, and at which hours of the week.

A forwarding applies to all numbers of its account, or to a range, which can be a single number. Two enabled forwardings
of an account with the same numbers and the same condition never share a minute of the week. A trigger of the database
enforces this, too. If several apply to a called number, the one for the fewest numbers wins (`applying`). So a small
range takes precedence over a larger one, and any range over all numbers of the account.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.accounts.accounts import Account
from models.db.base import Base, enumeration
from models.errors import NotFound
from models.telephony.forwarded_numbers import Numbers, width
from models.telephony.numbers import NumberBlock
from models.telephony.trunks import SipTrunk, TrunkState
from models.telephony.weekly_hours import ALL_WEEK, WEEK, Hours

SHORTEST_WAIT, LONGEST_WAIT = 5, 120
"""The shortest and longest time that a call can ring before "no answer" forwards it, in seconds."""


class Condition(StrEnum):
    """The condition under which a call is forwarded: always, if busy, if not answered, if no phone is registered."""

    ALWAYS = "always"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    NOT_REGISTERED = "not_registered"


class _HoursOfWeek(sa.types.TypeDecorator[Hours]):
    """A column type for `Hours` (minutes of the week) as a multirange, so that the database can detect overlaps."""

    impl = postgresql.INT4MULTIRANGE
    cache_ok = True

    def process_bind_param(self, value: Hours | None, dialect: sa.Dialect) -> Sequence[Range[int]] | None:
        return [Range(start, end) for start, end in value] if value is not None else None

    def process_result_value(self, value: Sequence[Range[int]] | None, dialect: sa.Dialect) -> Hours | None:
        if value is None:
            return None
        return tuple((span.lower or 0, span.upper or 0) for span in value)


class CallForwarding(Base):
    """A call forwarding of an account: calls under `condition` go to `target`, a number in E.164 with the plus sign.

    `after_seconds` is how long a call rings first; it is set only for the condition "no answer". `hours` are the
    minutes of the week, in German local time, in which the forwarding applies. The forwarding applies only while it is
    `enabled`. It is for calls to the numbers from `first_number` to `last_number`, in E.164 without the plus sign, or
    to all numbers of the account if both are None.
    """

    __tablename__ = "call_forwardings"

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True)
    account_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"), index=True)
    condition: Mapped[Condition] = mapped_column(enumeration(Condition, "condition"))
    target: Mapped[str]
    after_seconds: Mapped[int | None]
    hours: Mapped[Hours] = mapped_column(_HoursOfWeek, server_default=f"{{[0,{WEEK})}}", default=ALL_WEEK)
    enabled: Mapped[bool] = mapped_column(default=True)
    first_number: Mapped[int | None] = mapped_column(sa.BigInteger)
    last_number: Mapped[int | None] = mapped_column(sa.BigInteger)

    __table_args__ = (
        sa.CheckConstraint(r"target ~ '^\+[1-9][0-9]{6,14}$'", name="target_e164"),
        sa.CheckConstraint("(condition = 'no_answer') = (after_seconds IS NOT NULL)", name="seconds"),
        sa.CheckConstraint(f"after_seconds BETWEEN {SHORTEST_WAIT} AND {LONGEST_WAIT}", name="seconds_range"),
        sa.CheckConstraint(f"hours <@ int4range(0, {WEEK}) AND NOT isempty(hours)", name="hours"),
        sa.CheckConstraint(
            "(first_number IS NULL) = (last_number IS NULL) AND first_number <= last_number", name="numbers"
        ),
    )

    @property
    def numbers(self) -> Numbers | None:
        """Return the range of numbers to which the forwarding applies; None for all numbers of the account."""
        if self.first_number is None or self.last_number is None:
            return None
        return self.first_number, self.last_number


@dataclass(frozen=True, slots=True)
class ForwardingDraft:
    """A call forwarding as a user typed it, not checked yet. Numbers may be in any usual spelling.

    The forwarding is for the numbers from `first` to `last`, for one number if `last` is empty, and for all numbers of
    the account if `first` is None. `after_seconds` is how long a call rings first, only for the condition "no answer".
    `hours` are minutes of the week. `confirmed` is the high-risk target that the user has confirmed
    (`models.telephony.high_risk`), in E.164 with the plus sign, or None.
    """

    condition: Condition
    target: str
    after_seconds: int | None = None
    hours: Hours = ALL_WEEK
    enabled: bool = True
    first: str | None = None
    last: str = ""
    confirmed: str | None = None


def forwardings_of(session: Session, account: Account) -> Sequence[CallForwarding]:
    """Return all forwardings of the account, enabled or not, sorted by their numbers; those for all numbers come first.

    Forwardings for the same numbers are in the order of `Condition` ("always" first).
    """
    query = sa.select(CallForwarding).where(CallForwarding.account_id == account.id)
    places = list(Condition)
    return sorted(
        session.scalars(query),
        key=lambda found: (
            (found.first_number or 0, -width(found.numbers)),
            (places.index(found.condition), found.hours, found.id),
        ),
    )


def forwardings_within(session: Session, account: Account, numbers: Numbers) -> Sequence[CallForwarding]:
    """Return the account's forwardings whose range includes at least one of `numbers`, sorted by id.

    Forwardings for all numbers of the account have no range and are left out.
    """
    first, last = numbers
    query = sa.select(CallForwarding).where(
        CallForwarding.account_id == account.id,
        CallForwarding.first_number <= last,
        CallForwarding.last_number >= first,
    )
    return session.scalars(query.order_by(CallForwarding.id)).all()


def enabled_of(session: Session, account_ids: Collection[int]) -> Sequence[CallForwarding]:
    """Return the enabled forwardings of the accounts with these ids, at whatever hours they apply, sorted by id."""
    ids = sa.any_(sa.literal(list(account_ids), postgresql.ARRAY(sa.BigInteger)))
    query = sa.select(CallForwarding).where(CallForwarding.account_id == ids, CallForwarding.enabled)
    return session.scalars(query.order_by(CallForwarding.id)).all()


def trunks_for(session: Session, account: Account, numbers: Numbers | None) -> Sequence[SipTrunk]:
    """Return the account's trunks that have at least one number of the range `numbers`, sorted by id.

    If `numbers` is None, returns all of the account's trunks. Closed trunks are left out in both cases.
    """
    query = sa.select(SipTrunk).where(SipTrunk.account_id == account.id, SipTrunk.state != TrunkState.CLOSED)
    if numbers is not None:
        first, last = numbers
        has_some = NumberBlock.first_number <= last, NumberBlock.last_number >= first
        query = query.where(sa.exists().where(NumberBlock.trunk_id == SipTrunk.id, *has_some))
    return session.scalars(query.order_by(SipTrunk.id)).all()


def find_forwarding(session: Session, account: Account, id: int) -> CallForwarding:
    """Return the account's forwarding with this id. Raises `NotFound` if the account has none with this id."""
    found = session.get(CallForwarding, id)
    if found is None or found.account_id != account.id:
        raise NotFound
    return found
