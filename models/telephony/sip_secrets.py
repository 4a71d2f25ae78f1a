"""The secret of a SIP trunk: showing and renewing it. Both are recorded in the log, without the secret."""

from __future__ import annotations

import hashlib
from datetime import datetime

from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.accounts.locks import lock_account
from models.people.audit_log import AuditEvent, record
from models.people.rights import Action, Principal
from models.telephony.suspension import find_trunk
from models.telephony.trunks import SipTrunk
from models.vault import Vault, new_sip_secret


class RenewedMeanwhile(Exception):
    """Raised when the secret was renewed since the person saw it."""


def issue_of(trunk: SipTrunk) -> str:
    """Return an identifier of the secret that reveals nothing about it; it changes with each renewal."""
    return hashlib.sha256(trunk.secret).hexdigest()[:16]


def reveal(session: Session, vault: Vault, person: Principal, account: Account, id: int, now: datetime) -> str:
    """Return the secret in clear. Raises `Forbidden`, `NotFound` or `SecretUnreadable`."""
    trunk = find_trunk(session, person, Action.SEE_SECRET, account, id)
    secret = vault.open(trunk.secret)
    record(session, person, account, AuditEvent.SECRET_SEEN, Action.SEE_SECRET, now, {"sip_user": trunk.sip_user})
    return secret


def renew(
    session: Session, vault: Vault, person: Principal, account: Account, id: int, issue: str, now: datetime
) -> str:
    """Replace the secret of this issue and return the new one in clear. The old one ends once the registrar is updated.

    Raises `Forbidden`, `NotFound`, or `RenewedMeanwhile` if the secret was renewed since (a repeated call renews once).
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
    return secret
