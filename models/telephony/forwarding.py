"""Call forwardings: where calls to an account go, under which condition, and at which hours of the week.

Two enabled forwardings of an account with one condition never share a minute; the database enforces this rule too.
The condition "always" takes precedence over the others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import phonenumbers
import sqlalchemy as sa
from phonenumbers import PhoneNumberType
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.accounts.accounts import Account
from models.accounts.locks import lock_account
from models.db.base import Base, enumeration
from models.errors import Forbidden, InvalidField, NotFound
from models.people.audit_log import AuditEvent, record
from models.people.rights import Action, Principal, may
from models.phone_numbers import e164, parse_phone_number
from models.states import AccountState
from models.telephony.numbers import NumberBlock
from models.telephony.trunks import SipTrunk, TrunkState
from models.telephony.weekly_hours import ALL_WEEK, WEEK, Hours, covers, overlap

SHORTEST_WAIT, LONGEST_WAIT = 5, 120
"""The shortest and longest time that a call can ring before "no answer" forwards it, in seconds."""

_COSTLY = (PhoneNumberType.PREMIUM_RATE, PhoneNumberType.SHARED_COST, PhoneNumberType.PERSONAL_NUMBER)
_EMERGENCY = ("110", "112")
_NO_ZERO = ("+", "0")


class Condition(StrEnum):
    """The conditions under which a call is forwarded."""

    ALWAYS = "always"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    NOT_REGISTERED = "not_registered"


# Each condition as a number, which is what a range can hold.
_PLACES = "CASE condition " + " ".join(f"WHEN '{one}' THEN {place}" for place, one in enumerate(Condition)) + " END"


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

    `after_seconds` is how long a call rings first, set for the condition "no answer" alone; `hours` are the minutes
    of the week, in German local time, in which the forwarding applies. It never applies unless it is `enabled`.
    """

    __tablename__ = "call_forwardings"

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True)
    account_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"), index=True)
    condition: Mapped[Condition] = mapped_column(enumeration(Condition, "condition"))
    target: Mapped[str]
    after_seconds: Mapped[int | None]
    hours: Mapped[Hours] = mapped_column(_HoursOfWeek, server_default=f"{{[0,{WEEK})}}", default=ALL_WEEK)
    enabled: Mapped[bool] = mapped_column(default=True)

    __table_args__ = (
        sa.CheckConstraint(r"target ~ '^\+[1-9][0-9]{6,14}$'", name="target_e164"),
        sa.CheckConstraint("(condition = 'no_answer') = (after_seconds IS NOT NULL)", name="seconds"),
        sa.CheckConstraint(f"after_seconds BETWEEN {SHORTEST_WAIT} AND {LONGEST_WAIT}", name="seconds_range"),
        sa.CheckConstraint(f"hours <@ int4range(0, {WEEK}) AND NOT isempty(hours)", name="hours"),
        # Both as ranges of one: PostgreSQL's own GiST knows ranges, and needs no extension for them.
        postgresql.ExcludeConstraint(
            (sa.text("int8range(account_id, account_id, '[]')"), "&&"),
            (sa.text(f"int4range({_PLACES}, {_PLACES}, '[]')"), "&&"),
            (sa.text("hours"), "&&"),
            name="ex_call_forwardings_hours",
            using="gist",
            where=sa.text("enabled"),
        ),
    )


@dataclass(frozen=True, slots=True)
class ForwardingDraft:
    """A call forwarding as a user typed it, not yet checked. `target` may be in any usual spelling."""

    condition: Condition
    target: str
    after_seconds: int | None = None
    hours: Hours = ALL_WEEK
    enabled: bool = True


def forwardings_of(session: Session, account: Account) -> Sequence[CallForwarding]:
    """Return all forwardings of an account, enabled or not, in the order of `Condition` ("always" first)."""
    query = sa.select(CallForwarding).where(CallForwarding.account_id == account.id)
    places = list(Condition)
    return sorted(session.scalars(query), key=lambda found: (places.index(found.condition), found.hours, found.id))


def enabled_of(session: Session, account_ids: Collection[int]) -> Sequence[CallForwarding]:
    """Return the enabled forwardings of the accounts with these ids, for all hours of the week, in the order of ids."""
    ids = sa.any_(sa.literal(list(account_ids), postgresql.ARRAY(sa.BigInteger)))
    query = sa.select(CallForwarding).where(CallForwarding.account_id == ids, CallForwarding.enabled)
    return session.scalars(query.order_by(CallForwarding.id)).all()


def in_force(forwardings: Iterable[CallForwarding], trunks: Iterable[SipTrunk], at: datetime) -> list[CallForwarding]:
    """Return which of an account's forwardings apply at the moment `at`: enabled, and with that moment in their hours.

    A forwarding with the condition "always" is returned alone; otherwise there is at most one for each condition.
    `trunks` are the account's trunks: if all of them are suspended, or there are none, no forwarding applies.
    """
    if all(trunk.state is TrunkState.SUSPENDED for trunk in trunks):
        return []
    found = [forwarding for forwarding in forwardings if forwarding.enabled and covers(forwarding.hours, at)]
    return [one for one in found if one.condition is Condition.ALWAYS] or found


def add_forwarding(
    session: Session, person: Principal, account: Account, draft: ForwardingDraft, now: datetime
) -> CallForwarding:
    """Add a call forwarding to the account, record it in the log, and schedule the registrar to be updated.

    Raises `Forbidden` if the person may not forward the account's calls or the account is not active, and
    `InvalidField` if a field of the draft breaks a rule, for example if its hours overlap those of another forwarding.
    """
    _begin(session, person, account)
    forwarding = CallForwarding(account_id=account.id)
    _fill(session, forwarding, account, draft)
    session.add(forwarding)
    _finish(session, person, account, AuditEvent.FORWARDING_ADDED, _facts(forwarding), now)
    return forwarding


def change_forwarding(
    session: Session, person: Principal, account: Account, id: int, draft: ForwardingDraft, now: datetime
) -> None:
    """Change the account's forwarding `id` to the draft, record it in the log, and schedule a registrar update.

    Raises `Forbidden` if the person may not forward the account's calls or the account is not active, `NotFound` if
    the account has no forwarding with this id, and `InvalidField` if a field of the draft breaks a rule.
    """
    _begin(session, person, account)
    forwarding = find_forwarding(session, account, id)
    before = _facts(forwarding)
    _fill(session, forwarding, account, draft)
    _finish(session, person, account, AuditEvent.FORWARDING_CHANGED, {**_facts(forwarding), "before": before}, now)


def remove_forwarding(session: Session, person: Principal, account: Account, id: int, now: datetime) -> None:
    """Delete the account's forwarding `id`, record it in the log, and schedule the registrar to be updated.

    Raises `Forbidden` if the person may not forward the account's calls or the account is not active, and `NotFound`
    if the account has no forwarding with this id.
    """
    _begin(session, person, account)
    forwarding = find_forwarding(session, account, id)
    session.delete(forwarding)
    _finish(session, person, account, AuditEvent.FORWARDING_REMOVED, _facts(forwarding), now)


def find_forwarding(session: Session, account: Account, id: int) -> CallForwarding:
    """Return the account's forwarding with this id. Raises `NotFound` if the account has none with this id."""
    found = session.get(CallForwarding, id)
    if found is None or found.account_id != account.id:
        raise NotFound
    return found


def target_of(typed: str) -> str:
    """Return the target number of a forwarding in E.164, with the plus sign, from any usual spelling.

    Raises `InvalidField` with a code: `emergency_number` for 110 and 112, `needs_area_code` if the text begins with
    neither "+" nor "0", `costly_number` for premium-rate, shared-cost and personal numbers, and `not_a_phone_number`
    for every other text that is no valid number.
    """
    digits = "".join(character for character in typed if character.isdecimal())
    if digits.lstrip("0") in _EMERGENCY:
        raise InvalidField("target", "emergency_number")
    if not typed.strip(" (").startswith(_NO_ZERO):
        raise InvalidField("target", "needs_area_code")
    number = parse_phone_number(typed)
    if number is None:
        raise InvalidField("target", "not_a_phone_number")
    if phonenumbers.national_significant_number(number) in _EMERGENCY:
        raise InvalidField("target", "emergency_number")
    if phonenumbers.number_type(number) in _COSTLY:
        raise InvalidField("target", "costly_number")
    if not phonenumbers.is_valid_number(number):
        raise InvalidField("target", "not_a_phone_number")
    return e164(number)


def _begin(session: Session, person: Principal, account: Account) -> None:
    """Lock the account, so that of two simultaneous changes the second sees the first, and check the right.

    Raises `Forbidden` if the person may not forward the account's calls or the account is not active.
    """
    # What was read before may be over: it may have been detached, or closed.
    lock_account(session, account)
    if not may(person, Action.FORWARD_CALLS, account) or account.state is not AccountState.ACTIVE:
        raise Forbidden


def _fill(session: Session, forwarding: CallForwarding, account: Account, draft: ForwardingDraft) -> None:
    waits = draft.condition is Condition.NO_ANSWER
    if waits and not SHORTEST_WAIT <= (draft.after_seconds or 0) <= LONGEST_WAIT:
        raise InvalidField("after_seconds", "not_in_range", (SHORTEST_WAIT, LONGEST_WAIT))
    if not draft.hours:
        raise InvalidField("hours", "none")
    target = target_of(draft.target)
    _ensure_no_loop(session, account, target)
    if draft.enabled:
        _ensure_free(session, forwarding, account, draft)
    forwarding.condition, forwarding.target = draft.condition, target
    forwarding.after_seconds = draft.after_seconds if waits else None
    forwarding.hours, forwarding.enabled = draft.hours, draft.enabled


def _ensure_no_loop(session: Session, account: Account, target: str) -> None:
    number = int(target.removeprefix("+"))
    own = sa.select(NumberBlock.id).where(
        NumberBlock.account_id == account.id,
        NumberBlock.first_number <= number,
        NumberBlock.first_number + NumberBlock.size > number,
    )
    if session.scalar(own.limit(1)) is not None:
        raise InvalidField("target", "own_number")


def _ensure_free(session: Session, own: CallForwarding, account: Account, draft: ForwardingDraft) -> None:
    others = sa.select(CallForwarding).where(
        CallForwarding.account_id == account.id, CallForwarding.condition == draft.condition, CallForwarding.enabled
    )
    for other in session.scalars(others):
        if other is not own and overlap(other.hours, draft.hours):
            raise InvalidField("hours", "overlap", other.target)


def _finish(
    session: Session, person: Principal, account: Account, deed: AuditEvent, facts: dict[str, object], now: datetime
) -> None:
    record(session, person, account, deed, Action.FORWARD_CALLS, now, facts)
    session.flush()
    trunks = sa.select(SipTrunk).where(SipTrunk.account_id == account.id, SipTrunk.state != TrunkState.CLOSED)
    for trunk in session.scalars(trunks.order_by(SipTrunk.id).with_for_update()):
        trunk.changed(now)


def _facts(forwarding: CallForwarding) -> dict[str, object]:
    return {
        "condition": str(forwarding.condition),
        "target": forwarding.target,
        "after_seconds": forwarding.after_seconds,
        "hours": [list(span) for span in forwarding.hours],
        "enabled": forwarding.enabled,
    }
