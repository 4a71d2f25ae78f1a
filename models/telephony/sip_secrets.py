"""The secret (SIP password) of a trunk: showing and renewing it. The log records both, without the secret."""

from __future__ import annotations

import hashlib
from datetime import datetime

from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.accounts.locks import lock_account
from models.people.audit_log import AuditEvent, record
from models.people.rights import Action, Principal
from models.telephony.change_notices import tell_of_change
from models.telephony.suspension import find_trunk
from models.telephony.trunks import SipTrunk
from models.vault import Vault, new_sip_secret


class RenewedMeanwhile(Exception):
    """Raised when a trunk's secret is to be renewed, but has changed since the person saw it."""


def issue_of(trunk: SipTrunk) -> str:
    """Return an identifier of the trunk's current secret, which does not reveal it; it changes with the secret."""
    return hashlib.sha256(trunk.secret).hexdigest()[:16]


def reveal(session: Session, vault: Vault, person: Principal, account: Account, id: int, now: datetime) -> str:
    """Return the secret of the account's trunk `id` in clear, and record in the log that the person saw it.

    Raises `Forbidden` if the person may not see the account's secrets, `NotFound` if the account has no open trunk with
    this id, and `SecretUnreadable` if the secret was encrypted with a key that is not configured.
    """
    trunk = find_trunk(session, person, Action.SEE_SECRET, account, id)
    secret = vault.open(trunk.secret)
    record(session, person, account, AuditEvent.SECRET_SEEN, Action.SEE_SECRET, now, {"sip_user": trunk.sip_user})
    return secret


def renew(
    session: Session, vault: Vault, person: Principal, account: Account, id: int, issue: str, now: datetime
) -> str:
    """Replace the secret of the account's trunk `id` and return the new one in clear.

    Locks account and trunk, and records the change in the account's log. `issue` is what `issue_of` returned for the
    secret that the person has seen: it identifies that secret without containing it, so that a repeated call renews
    once. The old secret is valid until the registrar is updated. The administrators are told by mail, without the
    secret. Raises `Forbidden` if the person may not see the account's secrets, `NotFound` if the account has no open
    trunk with this id, and `RenewedMeanwhile` if the current secret has another issue.
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
