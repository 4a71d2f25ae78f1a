"""Showing and renewing the secret (SIP password) of a trunk. Both are recorded in the audit log, without the secret."""

from __future__ import annotations

import hashlib
from datetime import datetime

from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.accounts.locks import lock_account
from models.people.audit_log import AuditEvent, record
from models.people.rights import Action, Principal
from models.telephony.change_mails import tell_of_change
from models.telephony.login_digests import SecretUnknown, known_digests
from models.telephony.suspension import find_trunk
from models.telephony.trunks import SipTrunk
from models.vault import Vault, new_sip_secret


class RenewedMeanwhile(Exception):
    """Raised when a trunk's secret is to be renewed, but has changed since the person saw it."""


def issue_of(trunk: SipTrunk) -> str:
    """Return an identifier of the trunk's current secret, which does not reveal the secret and changes with it."""
    return hashlib.sha256(trunk.secret).hexdigest()[:16]


def reveal(session: Session, vault: Vault, person: Principal, account: Account, id: int, now: datetime) -> str:
    """Return the SIP password of the account's trunk `id` in plain text, and record in the audit log who saw it.

    Raises `Forbidden` if the person may not see the account's secrets, `NotFound` if the account has no trunk with this
    id that is not closed, and `SecretUnreadable` if the secret was encrypted with a key that is not configured, or
    (`SecretUnknown`) if only its digests were taken over.
    """
    trunk = find_trunk(session, person, Action.SEE_SECRET, account, id)
    secret = vault.open(trunk.secret)
    if known_digests(secret) is not None:
        raise SecretUnknown
    record(session, person, account, AuditEvent.SECRET_SEEN, Action.SEE_SECRET, now, {"sip_user": trunk.sip_user})
    return secret


def renew(
    session: Session, vault: Vault, person: Principal, account: Account, id: int, issue: str, now: datetime
) -> str:
    """Replace the secret (SIP password) of the account's trunk `id`, and return the new one in plain text.

    Locks account and trunk, records the change in the account's audit log, and schedules a registrar update; the old
    secret is valid until then. The administrators are told by mail, without the secret. `issue` identifies the secret
    that the person has seen (`issue_of`), so that a repeated call does not renew it again. Raises `Forbidden` if the
    person may not see the account's secrets, `NotFound` if the account has no trunk with this id that is not closed,
    and `RenewedMeanwhile` if `issue` is not that of the current secret.
    """
    # Before the trunk, as everywhere: the entry in the log refers to the account, which may be closed at this moment.
    lock_account(session, account)
    trunk = find_trunk(session, person, Action.SEE_SECRET, account, id, lock=True)
    if issue_of(trunk) != issue:
        raise RenewedMeanwhile
    secret = new_sip_secret()
    trunk.secret = vault.seal(secret)
    trunk.changed(now)
    record(session, person, account, AuditEvent.SECRET_RENEWED, Action.SEE_SECRET, now, {"sip_user": trunk.sip_user})
    tell_of_change(session, person, account, Action.SEE_SECRET, "secret_renewed", trunk.sip_user, now)
    return secret
