"""Invitation of an administrator, by the carrier's staff, to an account in which nobody can send one."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.errors import NotFound
from models.messages.outbox import Recipient, queue_message
from models.people.invitations import Invitation, invite_for_carrier
from models.people.rights import Principal
from models.people.users import administrators_of
from models.proofs.consent_reach import end_cases
from models.states import AccountState


def name_administrator(
    session: Session, staff: Principal, account: Account, to: Recipient, proof: str, now: datetime
) -> Invitation:
    """Invite a person as administrator of an account that has none, or whose only one cannot be reached any more.

    Staff judge whether a present administrator can be reached; this is not checked. `proof` is their description of the
    evidence that the person may administer the account; it is stored in the account's audit log. A present
    administrator is told by mail and keeps the role, but the new one can take it away. Questions for consent that the
    account has not received are removed from the back office's list of questions that reach nobody. Returns the
    invitation.

    Raises `NotFound` unless the account is in service, `Forbidden` if `staff` is not one of the carrier's staff,
    `SeveralAdministrators` if there is more than one administrator, and `AlreadyUser` if the person is already the only
    administrator.
    """
    if account.state is not AccountState.ACTIVE:
        raise NotFound
    invited = invite_for_carrier(session, staff, account, to, proof, now)
    facts = {
        "path": f"/benutzer/{account.customer_number}",
        "name": to.name,
        "customer_number": account.customer_number,
        "account_name": account.name,
    }
    for present in administrators_of(session, account.id):
        told = Recipient(present.name, present.email, present.locale)
        occasion = f"{invited.id}/{invited.issue}"
        queue_message(session, None, "administrator_named", told, facts, now, occasion=occasion)
    end_cases(session, account)
    return invited
