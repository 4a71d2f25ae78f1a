"""Adding, changing and removing an account's call forwardings, with checks, audit log and registrar update.

Also takes over the forwardings of a trunk that another system has set up in the registrar.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

import phonenumbers
import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.accounts.locks import lock_active_account
from models.errors import Forbidden, InvalidField, NotFound
from models.people.audit_log import AuditEvent, record, record_of_carrier
from models.people.rights import Action, Principal, may
from models.phone_numbers import BadPhoneNumber, e164, is_emergency_number, is_service_number, parse_phone_number
from models.telephony.country_prefixes import rules_of
from models.telephony.forwarded_numbers import Numbers, ensure_nested, ensure_owned, typed_numbers
from models.telephony.forwarding import (
    LONGEST_WAIT,
    SHORTEST_WAIT,
    CallForwarding,
    Condition,
    ForwardingDraft,
    find_forwarding,
    forwardings_of,
    trunks_for,
)
from models.telephony.high_risk import ensure_confirmed, is_high_risk, tell_administrators
from models.telephony.numbers import is_own_number
from models.telephony.trunks import SipTrunk, TrunkState
from models.telephony.weekly_hours import overlap

_EMERGENCY = ("110", "112")
_NO_ZERO = ("+", "0")


def add_forwarding(
    session: Session, person: Principal, account: Account, draft: ForwardingDraft, now: datetime
) -> CallForwarding:
    """Add a call forwarding to the account, record it in the account's audit log, and schedule a registrar update.

    Locks the account. The other administrators get a mail if the forwarding is enabled and leads to a high-risk
    destination. Raises `Forbidden` if the person may not forward the account's calls or the account is not active.
    Raises `InvalidField` if a field of the draft breaks a rule, for example if its hours overlap those of another
    forwarding, or if only an administrator may confirm its target.
    """
    _begin(session, person, account)
    forwarding = CallForwarding(account_id=account.id)
    _fill(session, person, forwarding, account, draft)
    session.add(forwarding)
    _tell(session, person, account, forwarding, now)
    _finish(session, person, account, AuditEvent.FORWARDING_ADDED, _facts(forwarding), now)
    return forwarding


def take_over_forwarding(session: Session, sip_user: str, draft: ForwardingDraft, now: datetime) -> bool:
    """Add a call forwarding that a trunk had before the portal, and record it in the audit log; return whether added.

    The trunk must have been taken over from the registrar (`models.telephony.trunk_takeover`), and not be adopted yet:
    the portal does not write it to the registrar until it is adopted. If the draft is for all numbers, the account must
    have no other trunk. Returns False, and changes nothing, if the account already has this forwarding, enabled or not.
    Locks the account.

    Raises `NotFound` if no trunk has this SIP user, and `Forbidden` if its account is not active. Raises `InvalidField`
    if a field of the draft breaks a rule of the portal. If the trunk is adopted or about to be, the error is for the
    field `trunk` with the code `adopted`. If the forwarding would apply to another trunk, too, it is for `numbers` with
    `several_trunks` or `other_trunk`. A high-risk target is refused, because only an administrator may confirm it.
    """
    account_id = session.scalar(sa.select(SipTrunk.account_id).where(SipTrunk.sip_user == sip_user))
    if account_id is None:
        raise NotFound
    account = session.get_one(Account, account_id)
    lock_active_account(session, account)
    # Against an adoption at this moment, which may write the trunk without the forwarding.
    trunk = session.scalars(sa.select(SipTrunk).where(SipTrunk.sip_user == sip_user).with_for_update()).one()
    target = target_of(draft.target)
    numbers = typed_numbers(draft.first, draft.last) if draft.first is not None else None
    if any(_is_same(other, draft, target, numbers) for other in forwardings_of(session, account)):
        return False
    # One that was changed here is about to be adopted, and the customer may have removed this forwarding.
    if trunk.unadopted_since is None or trunk.due_at is not None:
        raise InvalidField("trunk", "adopted")
    forwarding = CallForwarding(account_id=account.id)
    _fill(session, None, forwarding, account, draft)
    if any(other is not trunk for other in trunks_for(session, account, numbers)):
        raise InvalidField("numbers", "several_trunks" if numbers is None else "other_trunk")
    session.add(forwarding)
    record_of_carrier(session, account, AuditEvent.FORWARDING_ADDED, now, _facts(forwarding))
    return True


def change_forwarding(
    session: Session, person: Principal, account: Account, id: int, draft: ForwardingDraft, now: datetime
) -> None:
    """Change the account's forwarding `id` to the draft, record it in the audit log, and schedule a registrar update.

    Locks the account. The other administrators get a mail if the forwarding is enabled and leads to a high-risk
    destination. Raises `Forbidden` if the person may not forward the account's calls or the account is not active,
    `NotFound` if the account has no forwarding with this id, and `InvalidField` if a field of the draft breaks a rule.
    """
    _begin(session, person, account)
    forwarding = find_forwarding(session, account, id)
    before = _facts(forwarding)
    _fill(session, person, forwarding, account, draft)
    _tell(session, person, account, forwarding, now)
    _finish(session, person, account, AuditEvent.FORWARDING_CHANGED, {**_facts(forwarding), "before": before}, now)


def remove_forwarding(session: Session, person: Principal, account: Account, id: int, now: datetime) -> None:
    """Delete the account's forwarding `id`, record it in the account's audit log, and schedule a registrar update.

    Locks the account. Raises `Forbidden` if the person may not forward the account's calls or the account is not
    active, and `NotFound` if the account has no forwarding with this id.
    """
    _begin(session, person, account)
    forwarding = find_forwarding(session, account, id)
    session.delete(forwarding)
    _finish(session, person, account, AuditEvent.FORWARDING_REMOVED, _facts(forwarding), now)


def remove_with_numbers(
    session: Session, person: Principal, account: Account, forwardings: Collection[CallForwarding], now: datetime
) -> None:
    """Delete these forwardings of the account, because it is about to lose their numbers.

    Records each deletion in the account's audit log, and schedules a registrar update. The caller must have locked the
    account and checked the right to release its numbers.
    """
    for forwarding in forwardings:
        session.delete(forwarding)
        record(session, person, account, AuditEvent.FORWARDING_REMOVED, Action.MANAGE_TRUNK, now, _facts(forwarding))
    if forwardings:
        _schedule(session, account, now)


def remove_moved(
    session: Session,
    person: Principal | None,
    account: Account,
    forwardings: Collection[CallForwarding],
    now: datetime,
) -> None:
    """Delete these forwardings of the account, because it moves and their numbers are not all of one block.

    Records each deletion in the account's audit log as done by `person`, who has ordered the move; by the carrier if
    that is None. The caller must have locked the account, and schedules the registrar update.
    """
    for forwarding in forwardings:
        session.delete(forwarding)
        facts = _facts(forwarding)
        if person is None:
            record_of_carrier(session, account, AuditEvent.FORWARDING_REMOVED, now, facts)
        else:
            record(session, person, account, AuditEvent.FORWARDING_REMOVED, Action.CHANGE_CONTRACT, now, facts)
    session.flush()


def target_of(typed: str) -> str:
    """Return the typed target number of a forwarding in E.164 with the plus sign.

    `typed` may have any usual spelling. Raises `InvalidField` for the field `target` with one of these codes:
    `emergency_number`; `needs_area_code` if the text begins with neither "+" nor "0"; `costly_number` for premium-rate,
    shared-cost, personal and other service numbers; `not_as_dialled` if the text has more than one number;
    `not_a_phone_number` for any other invalid text.
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
    """Lock the account and check the person's right, before a forwarding of the account is changed.

    Because of the lock, the second of two concurrent changes sees the first. Raises `Forbidden` if the person may not
    forward the account's calls or the account is not active.
    """
    # What was read before may be over: it may have been detached, or closed.
    lock_active_account(session, account)
    if not may(person, Action.FORWARD_CALLS, account):
        raise Forbidden


def _is_same(forwarding: CallForwarding, draft: ForwardingDraft, target: str, numbers: Numbers | None) -> bool:
    """Return whether the draft describes this forwarding, whether or not the forwarding is enabled.

    `target` and `numbers` are those of the draft in their normalised form.
    """
    waits = draft.condition is Condition.NO_ANSWER
    seconds = draft.after_seconds if waits else None
    told = forwarding.condition, forwarding.target, forwarding.numbers, forwarding.after_seconds, forwarding.hours
    return told == (draft.condition, target, numbers, seconds, draft.hours)


def _fill(
    session: Session, person: Principal | None, forwarding: CallForwarding, account: Account, draft: ForwardingDraft
) -> None:
    """Give the forwarding the values of the draft. Raise `InvalidField`, and change nothing, if one breaks a rule.

    `person` is who makes the change; None if the carrier makes it.
    """
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
    session: Session,
    person: Principal | None,
    account: Account,
    numbers: Numbers | None,
    target: str,
    *,
    confirmed: bool,
) -> None:
    if any(not rules_of(trunk.countries).allows(target) for trunk in trunks_for(session, account, numbers)):
        raise InvalidField("target", "outside_limit")
    if is_high_risk(session, target):
        if person is None:
            raise InvalidField("target", "administrator_confirms")
        ensure_confirmed(person, account, "target", confirmed=confirmed, about=target)


def _tell(session: Session, person: Principal, account: Account, forwarding: CallForwarding, now: datetime) -> None:
    """Queue a mail about the forwarding if it is enabled and leads to a high-risk destination.

    The mail goes to all administrators of the account and of its main account, except `person`.
    """
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
