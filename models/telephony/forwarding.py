"""Call forwardings: where calls to an account go, under which condition, and at which hours of the week.

A forwarding is for all numbers of its account, or for a range of them, which can be a single number. Two enabled
forwardings of an account for the same numbers with one condition never share a minute; a trigger of the database
enforces this rule too. For a called number the more exact forwarding wins (`applying`): that of the number before that
of a range, that of a smaller range before that of a larger one, and these before that of the account.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import phonenumbers
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.accounts.accounts import Account
from models.accounts.locks import lock_active_account
from models.db.base import Base, enumeration
from models.errors import Forbidden, InvalidField, NotFound
from models.people.audit_log import AuditEvent, record
from models.people.rights import Action, Principal, may
from models.phone_numbers import BadPhoneNumber, e164, is_emergency_number, is_service_number, parse_phone_number
from models.telephony.destinations import rules_of
from models.telephony.forwarded_numbers import (
    Numbers,
    ensure_nested,
    ensure_owned,
    has_number,
    typed_numbers,
    width,
)
from models.telephony.high_risk import ensure_confirmed, is_high_risk, tell_administrators
from models.telephony.numbers import NumberBlock, is_own_number
from models.telephony.trunks import SipTrunk, TrunkState
from models.telephony.weekly_hours import ALL_WEEK, WEEK, Hours, covers, overlap

SHORTEST_WAIT, LONGEST_WAIT = 5, 120
"""The shortest and longest time that a call can ring before "no answer" forwards it, in seconds."""

_EMERGENCY = ("110", "112")
_NO_ZERO = ("+", "0")


class Condition(StrEnum):
    """The condition under which a call is forwarded: always, when busy, when not answered, or no phone registered."""

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

    `after_seconds` is how long a call rings first, set for the condition "no answer" alone; `hours` are the minutes
    of the week, in German local time, in which the forwarding applies. It never applies unless it is `enabled`.
    It is for the numbers from `first_number` to `last_number`, E.164 without the plus sign, or, if both are None, for
    all numbers of the account.
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
        """Return the range of numbers that the forwarding is for; None for all numbers of the account."""
        if self.first_number is None or self.last_number is None:
            return None
        return self.first_number, self.last_number


@dataclass(frozen=True, slots=True)
class ForwardingDraft:
    """A call forwarding as a user typed it, not yet checked. Numbers may be in any usual spelling.

    It is for the numbers from `first` to `last`, for one number if `last` is empty, and for all numbers of the account
    if `first` is None. `confirmed` is the high-risk target that the person has confirmed
    (`models.telephony.high_risk`), in E.164 with the plus sign.
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
    """Return all forwardings of an account, enabled or not: first those for all numbers, then by their numbers.

    Those for the same numbers are in the order of `Condition` ("always" first).
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
    """Return the account's forwardings for ranges that include at least one of these numbers, in the order of ids."""
    first, last = numbers
    query = sa.select(CallForwarding).where(
        CallForwarding.account_id == account.id,
        CallForwarding.first_number <= last,
        CallForwarding.last_number >= first,
    )
    return session.scalars(query.order_by(CallForwarding.id)).all()


def enabled_of(session: Session, account_ids: Collection[int]) -> Sequence[CallForwarding]:
    """Return the enabled forwardings of the accounts with these ids, whether in force at this hour or not, by id."""
    ids = sa.any_(sa.literal(list(account_ids), postgresql.ARRAY(sa.BigInteger)))
    query = sa.select(CallForwarding).where(CallForwarding.account_id == ids, CallForwarding.enabled)
    return session.scalars(query.order_by(CallForwarding.id)).all()


def trunks_for(session: Session, account: Account, numbers: Numbers | None) -> Sequence[SipTrunk]:
    """Return the account's open trunks that have a number of the range; all of its open trunks if `numbers` is None."""
    query = sa.select(SipTrunk).where(SipTrunk.account_id == account.id, SipTrunk.state != TrunkState.CLOSED)
    if numbers is not None:
        first, last = numbers
        has_some = NumberBlock.first_number <= last, NumberBlock.last_number >= first
        query = query.where(sa.exists().where(NumberBlock.trunk_id == SipTrunk.id, *has_some))
    return session.scalars(query.order_by(SipTrunk.id)).all()


def in_force(forwardings: Iterable[CallForwarding], trunks: Iterable[SipTrunk], at: datetime) -> list[CallForwarding]:
    """Return which of an account's forwardings apply at the moment `at`: enabled, and with that moment in their hours.

    A forwarding is left out if a more exact one takes its place for each number. `trunks` are the account's trunks: if
    all of them are suspended, or there are none, no forwarding applies.
    """
    if all(trunk.state is TrunkState.SUSPENDED for trunk in trunks):
        return []
    found = [forwarding for forwarding in forwardings if forwarding.enabled and covers(forwarding.hours, at)]
    # Between two edges of ranges all numbers are treated alike; the one after a range is in a wider range or in none.
    edges = {edge for one in found if one.numbers for edge in (one.numbers[0], one.numbers[1] + 1)}
    applied = {id(one) for number in (None, *edges) for one in applying(found, number)}
    return [one for one in found if id(one) in applied]


def applying(forwardings: Sequence[CallForwarding], number: int | None) -> list[CallForwarding]:
    """Return which of the forwardings in force apply to calls to `number`: at most one for each condition.

    `number` is in E.164 without the plus sign; None stands for a number that no range includes. Of one condition the
    most exact forwarding applies. "Always" applies alone, but only if no more exact forwarding of another condition is
    in force for the number. The route FORWARDINGS of `workers/sip/kamailio.cfg` follows this rule for calls.
    """
    found = sorted((one for one in forwardings if has_number(one.numbers, number)), key=lambda one: width(one.numbers))
    exact = [one for one in found if width(one.numbers) == width(found[0].numbers)]
    if always := [one for one in exact if one.condition is Condition.ALWAYS]:
        return always
    best: dict[Condition, CallForwarding] = {}
    for one in found:
        best.setdefault(one.condition, one)
    return [one for condition, one in best.items() if condition is not Condition.ALWAYS]


def exceptions_to(always: CallForwarding, forwardings: Iterable[CallForwarding]) -> list[CallForwarding]:
    """Return the account's forwardings that take their numbers out of `always`, a forwarding of the condition "always".

    They are the enabled ones of another condition for some of its numbers, at some of its hours, as `applying` says.
    Left out are those whose own numbers another enabled "always" forwards at these hours. Empty for other conditions.
    """
    if always.condition is not Condition.ALWAYS or not always.enabled:
        return []
    found = [one for one in forwardings if one.enabled and overlap(one.hours, always.hours)]
    own = {one.numbers for one in found if one.condition is Condition.ALWAYS}
    return [one for one in found if one.numbers not in own and _is_part(one.numbers, always.numbers)]


def _is_part(numbers: Numbers | None, whole: Numbers | None) -> bool:
    return width(numbers) < width(whole) and has_number(whole, numbers[0] if numbers else None)


def add_forwarding(
    session: Session, person: Principal, account: Account, draft: ForwardingDraft, now: datetime
) -> CallForwarding:
    """Add a call forwarding to the account, record it in the log, and schedule the registrar to be updated.

    Raises `Forbidden` if the person may not forward the account's calls or the account is not active, and
    `InvalidField` if a field of the draft breaks a rule, for example if its hours overlap those of another forwarding,
    or if only an administrator may confirm its target.
    """
    _begin(session, person, account)
    forwarding = CallForwarding(account_id=account.id)
    _fill(session, person, forwarding, account, draft)
    session.add(forwarding)
    _tell(session, person, account, forwarding, now)
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
    _fill(session, person, forwarding, account, draft)
    _tell(session, person, account, forwarding, now)
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


def remove_with_numbers(
    session: Session, person: Principal, account: Account, forwardings: Collection[CallForwarding], now: datetime
) -> None:
    """Delete the account's forwardings for numbers that it is about to lose, and schedule the registrar to be updated.

    Record each in the log. The caller has locked the account and checked the right to release its numbers.
    """
    for forwarding in forwardings:
        session.delete(forwarding)
        record(session, person, account, AuditEvent.FORWARDING_REMOVED, Action.MANAGE_TRUNK, now, _facts(forwarding))
    if forwardings:
        _schedule(session, account, now)


def find_forwarding(session: Session, account: Account, id: int) -> CallForwarding:
    """Return the account's forwarding with this id. Raises `NotFound` if the account has none with this id."""
    found = session.get(CallForwarding, id)
    if found is None or found.account_id != account.id:
        raise NotFound
    return found


def target_of(typed: str) -> str:
    """Return the target number of a forwarding in E.164, with the plus sign, from any usual spelling.

    Raises `InvalidField` with a code: `emergency_number`; `needs_area_code` if the text begins with neither "+" nor
    "0"; `costly_number` for premium-rate, shared-cost, personal and other service numbers; `not_as_dialled` for more
    than one number; and `not_a_phone_number` for every other text that is no valid number.
    """
    digits = "".join(character for character in typed if character.isdecimal())
    if digits.lstrip("0") in _EMERGENCY:
        raise InvalidField("target", "emergency_number")
    if not typed.strip(" (").startswith(_NO_ZERO):
        raise InvalidField("target", "needs_area_code")
    try:
        number = parse_phone_number(typed)
    except BadPhoneNumber as error:
        raise InvalidField("target", error.code) from error
    if is_emergency_number(number):
        raise InvalidField("target", "emergency_number")
    if is_service_number(number):
        raise InvalidField("target", "costly_number")
    if not phonenumbers.is_valid_number(number):
        raise InvalidField("target", "not_a_phone_number")
    return e164(number)


def _begin(session: Session, person: Principal, account: Account) -> None:
    """Lock the account and check the person's right, before one of its forwardings is changed.

    With the lock, the second of two simultaneous changes sees the first. Raises `Forbidden` if the person may not
    forward the account's calls or the account is not active.
    """
    # What was read before may be over: it may have been detached, or closed.
    lock_active_account(session, account)
    if not may(person, Action.FORWARD_CALLS, account):
        raise Forbidden


def _fill(
    session: Session, person: Principal, forwarding: CallForwarding, account: Account, draft: ForwardingDraft
) -> None:
    waits = draft.condition is Condition.NO_ANSWER
    if waits and not SHORTEST_WAIT <= (draft.after_seconds or 0) <= LONGEST_WAIT:
        raise InvalidField("after_seconds", "not_in_range", (SHORTEST_WAIT, LONGEST_WAIT))
    if not draft.hours:
        raise InvalidField("hours", "none")
    target = target_of(draft.target)
    _ensure_no_loop(session, account, target)
    others = [other for other in forwardings_of(session, account) if other is not forwarding]
    numbers = None
    if draft.first is not None:
        numbers = typed_numbers(draft.first, draft.last)
        ensure_owned(session, account, numbers)
        ensure_nested(numbers, [other.numbers for other in others if other.numbers])
    if draft.enabled:
        _ensure_free(numbers, draft, others)
        _ensure_allowed(session, person, account, numbers, target, confirmed=draft.confirmed == target)
    forwarding.first_number, forwarding.last_number = numbers or (None, None)
    forwarding.condition, forwarding.target = draft.condition, target
    forwarding.after_seconds = draft.after_seconds if waits else None
    forwarding.hours, forwarding.enabled = draft.hours, draft.enabled


def _ensure_no_loop(session: Session, account: Account, target: str) -> None:
    if is_own_number(session, account.id, int(target.removeprefix("+"))):
        raise InvalidField("target", "own_number")


def _ensure_allowed(
    session: Session, person: Principal, account: Account, numbers: Numbers | None, target: str, *, confirmed: bool
) -> None:
    if any(not rules_of(trunk.countries).allows(target) for trunk in trunks_for(session, account, numbers)):
        raise InvalidField("target", "outside_limit")
    if is_high_risk(session, target):
        ensure_confirmed(person, account, "target", confirmed=confirmed, about=target)


def _tell(session: Session, person: Principal, account: Account, forwarding: CallForwarding, now: datetime) -> None:
    """Queue a mail to the other administrators if the forwarding is enabled and leads to a high-risk destination."""
    if forwarding.enabled and is_high_risk(session, forwarding.target):
        path = f"/standortverwaltung/{account.customer_number}/rufweiterleitung"
        tell_administrators(session, person, account, path, {"target": forwarding.target}, now)


def _ensure_free(numbers: Numbers | None, draft: ForwardingDraft, others: Iterable[CallForwarding]) -> None:
    for other in others:
        rivals = other.enabled and other.condition is draft.condition and other.numbers == numbers
        if rivals and overlap(other.hours, draft.hours):
            raise InvalidField("hours", "overlap", other.target)


def _finish(
    session: Session, person: Principal, account: Account, deed: AuditEvent, facts: dict[str, object], now: datetime
) -> None:
    record(session, person, account, deed, Action.FORWARD_CALLS, now, facts)
    _schedule(session, account, now)


def _schedule(session: Session, account: Account, now: datetime) -> None:
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
        "numbers": list(forwarding.numbers) if forwarding.numbers else None,
    }
