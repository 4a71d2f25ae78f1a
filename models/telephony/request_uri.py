"""Setting what the request line of a trunk's incoming calls contains: the registered contact, or the dialled number.

Each change is recorded in the account's audit log.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.accounts.locks import lock_active_account
from models.people.audit_log import AuditEvent, record
from models.people.rights import Action, Principal
from models.telephony.suspension import find_trunk
from models.telephony.trunks import RequestUri


def change_request_uri(
    session: Session, person: Principal, account: Account, id: int, chosen: RequestUri, now: datetime
) -> bool:
    """Set what the request line of incoming calls of the account's trunk `id` contains; schedule a registrar update.

    Locks account and trunk, and records the change in the account's audit log. Returns False, and changes nothing, if
    `chosen` is set already. Raises `Forbidden` if the account is not active or the person may not manage its trunks,
    and `NotFound` if the account has no trunk with this id that is not closed.
    """
    lock_active_account(session, account)
    trunk = find_trunk(session, person, Action.MANAGE_TRUNK, account, id, lock=True)
    if trunk.request_uri is chosen:
        return False
    trunk.request_uri = chosen
    trunk.changed(now)
    facts = {"sip_user": trunk.sip_user, "request_uri": chosen}
    record(session, person, account, AuditEvent.REQUEST_URI_CHANGED, Action.MANAGE_TRUNK, now, facts)
    return True
