"""Suspending and resuming a trunk, by the customer and by the carrier. Each change is recorded in the audit log."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.accounts.locks import lock_account, lock_active_account
from models.errors import Forbidden, NotFound, SuspendedByCarrier
from models.people.audit_log import AuditEvent, record, record_of_carrier
from models.people.rights import Action, Principal, may
from models.states import AccountState
from models.telephony.trunks import SipTrunk, SuspendedBy, TrunkState


def find_trunk(
    session: Session, person: Principal, right: Action, account: Account, id: int, *, lock: bool = False
) -> SipTrunk:
    """Return the account's trunk `id`, if it is not closed and the person has the right `right` in the account.

    With `lock`, locks the trunk's row until the transaction ends. Raises `Forbidden` if the person lacks the right, and
    `NotFound` if the account has no trunk with this id or the trunk is closed.
    """
    if not may(person, right, account):
        raise Forbidden
    query = sa.select(SipTrunk).where(
        SipTrunk.id == id, SipTrunk.account_id == account.id, SipTrunk.state != TrunkState.CLOSED
    )
    found = session.scalar(query.with_for_update() if lock else query)
    if found is None:
        raise NotFound
    return found


def suspend(session: Session, person: Principal, account: Account, id: int, now: datetime) -> bool:
    """Suspend the account's trunk `id` on behalf of the customer, and schedule a registrar update.

    Locks account and trunk, and records the change in the account's audit log. Safe to run twice: returns False if the
    trunk is suspended already, by the customer or the carrier, otherwise True. Raises `Forbidden` if the account is not
    active or the person may not manage its trunks, and `NotFound` if the account has no trunk with this id that is not
    closed.
    """
    lock_active_account(session, account)
    trunk = find_trunk(session, person, Action.MANAGE_TRUNK, account, id, lock=True)
    if trunk.state is TrunkState.SUSPENDED:
        return False
    trunk.suspend(SuspendedBy.CUSTOMER, now)
    record(session, person, account, AuditEvent.TRUNK_SUSPENDED, Action.MANAGE_TRUNK, now, {"sip_user": trunk.sip_user})
    return True


def resume(session: Session, person: Principal, account: Account, id: int, now: datetime) -> SipTrunk:
    """Lift the customer's suspension of the account's trunk `id`, and return the trunk. Safe to run twice.

    Locks account and trunk, records the change in the account's audit log, and schedules a registrar update. A
    suspension by the carrier stays. Raises `Forbidden` if the account is not active or the person may not manage its
    trunks, `NotFound` if the account has no trunk with this id that is not closed, and `SuspendedByCarrier` if only the
    carrier has suspended the trunk.
    """
    lock_active_account(session, account)
    trunk = find_trunk(session, person, Action.MANAGE_TRUNK, account, id, lock=True)
    if trunk.resume(SuspendedBy.CUSTOMER, now):
        record(
            session, person, account, AuditEvent.TRUNK_RESUMED, Action.MANAGE_TRUNK, now, {"sip_user": trunk.sip_user}
        )
    elif trunk.state is TrunkState.SUSPENDED:
        raise SuspendedByCarrier
    return trunk


def suspend_for_carrier(session: Session, sip_user: str, reason: str, now: datetime) -> bool:
    """Suspend the trunk with this SIP user so that only the carrier can lift it. The customer can read `reason`.

    Locks account and trunk, records the change in the account's audit log, and schedules a registrar update. Safe to
    run twice: returns False if the carrier has suspended the trunk for this reason already. Raises `NotFound` if no
    trunk has this SIP user, `TrunkClosed` if it is closed, and `Forbidden` if its account is not active yet.
    """
    account, trunk = _of_sip_user(session, sip_user)
    changed = trunk.suspend(SuspendedBy.CARRIER, now, reason)
    if changed:
        facts = {"sip_user": sip_user, "reason": reason}
        record_of_carrier(session, account, AuditEvent.TRUNK_SUSPENDED, now, facts)
    return changed


def resume_for_carrier(session: Session, sip_user: str, now: datetime) -> tuple[SipTrunk, bool]:
    """Lift the carrier's suspension of the trunk with this SIP user; return the trunk, and whether it was changed.

    A suspension by the customer stays. Locks account and trunk, records the change in the account's audit log, and
    schedules a registrar update. Safe to run twice: nothing is changed unless the carrier has suspended the trunk.
    Raises `NotFound` if no trunk has this SIP user, `TrunkClosed` if it is closed, and `Forbidden` if its account is
    not active yet.
    """
    account, trunk = _of_sip_user(session, sip_user)
    changed = trunk.resume(SuspendedBy.CARRIER, now)
    if changed:
        record_of_carrier(session, account, AuditEvent.TRUNK_RESUMED, now, {"sip_user": sip_user})
    return trunk, changed


def _of_sip_user(session: Session, sip_user: str) -> tuple[Account, SipTrunk]:
    account = session.scalar(sa.select(Account).join(SipTrunk).where(SipTrunk.sip_user == sip_user))
    if account is None:
        raise NotFound
    lock_account(session, account)
    trunk = session.scalars(sa.select(SipTrunk).where(SipTrunk.sip_user == sip_user).with_for_update()).one()
    # While it is being provisioned, an older record may be written over what is told the registrar now.
    if account.state is AccountState.ORDERED:
        raise Forbidden
    return account, trunk
