"""The secret of a SIP trunk: seen by whoever may, and replaced by a new one. Each is in the log, the secret never."""

from __future__ import annotations

import hashlib
from datetime import datetime

from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.people.audit_log import Deed, record
from models.people.rights import Action, Principal
from models.telephony.suspension import find_trunk
from models.telephony.trunks import SipTrunk
from models.vault import Vault, new_sip_secret


class RenewedMeanwhile(Exception):
    """The secret is another one than that which was to be replaced."""


def issue_of(trunk: SipTrunk) -> str:
    """Which secret it is, without a word about it: another one after each renewal."""
    return hashlib.sha256(trunk.secret).hexdigest()[:16]


def reveal(session: Session, vault: Vault, person: Principal, account: Account, id: int, now: datetime) -> str:
    """The secret, in clear. Raises `Forbidden`, `NotFound` or `SecretUnreadable`."""
    trunk = find_trunk(session, person, Action.SEE_SECRET, account, id)
    secret = vault.open(trunk.secret)
    record(session, person, account, Deed.SECRET_SEEN, Action.SEE_SECRET, now, {"sip_user": trunk.sip_user})
    return secret


def renew(
    session: Session, vault: Vault, person: Principal, account: Account, id: int, issue: str, now: datetime
) -> str:
    """A new secret, in clear; the one of this issue stops working as soon as the registrar has heard of it.

    Raises `Forbidden`, `NotFound`, or `RenewedMeanwhile`: sent twice, it is renewed once.
    """
    trunk = find_trunk(session, person, Action.SEE_SECRET, account, id, lock=True)
    if issue_of(trunk) != issue:
        raise RenewedMeanwhile
    secret = new_sip_secret()
    trunk.secret = vault.seal(secret)
    trunk.changed(now)
    record(session, person, account, Deed.SECRET_RENEWED, Action.SEE_SECRET, now, {"sip_user": trunk.sip_user})
    return secret
