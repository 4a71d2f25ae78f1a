"""Changes of an account's contract holder: the rights needed, and the update of the history of its numbers."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.accounts.contract_holders import ContractHolder, HolderData, has_own_holder, put_holder
from models.accounts.locks import lock_active_account
from models.errors import Forbidden
from models.people.audit_log import AuditEvent, record
from models.people.rights import Action, Principal, may
from models.telephony.number_history import renew_history
from models.telephony.place_facts import places_of


def set_holder(session: Session, person: Principal, account: Account, data: HolderData, now: datetime) -> None:
    """Save the contract holder of an account, and record the change in the audit log and the history of the numbers.

    Does nothing if the data are equal to the present holder's. The town is saved in its official spelling if it is
    known. To enter the first holder, the right to order for the account is enough; a change needs the right
    `MANAGE_HOLDER`. Locks the account. Raises `Forbidden` if the person lacks the right, if the account is not active,
    or if the account shares the holder of its main account.
    """
    lock_active_account(session, account)
    before = session.get(ContractHolder, account.id)
    if not has_own_holder(account):
        raise Forbidden
    right = Action.MANAGE_HOLDER if before is not None or may(person, Action.MANAGE_HOLDER, account) else Action.ORDER
    if not may(person, right, account):
        raise Forbidden
    data = replace(data, city=places_of(session).spelled(data.postal_code, data.city))
    if before is not None and before.data == data:
        return
    facts = {"name": data.name, "before": before.name if before is not None else None}
    put_holder(session, account.id, data, now)
    renew_history(session, account.id, now)
    record(session, person, account, AuditEvent.HOLDER_CHANGED, right, now, facts)


def keep_holder_of(session: Session, main_id: int, account: Account, now: datetime) -> None:
    """Give an account that leaves its main account a copy of the main account's contract holder as its own.

    So its contracts keep their holder. Saves nothing if the account has a holder of its own, or the main account
    (`main_id`) has none. Always updates the history of the account's numbers. The account's administrators can enter
    another holder afterwards. Flushes.
    """
    holder = session.get(ContractHolder, main_id)
    if holder is not None and session.get(ContractHolder, account.id) is None:
        put_holder(session, account.id, holder.data, now)
    session.flush()
    renew_history(session, account.id, now)
