"""Mails about changes of an account's telephony that cannot be undone: numbers released, a secret renewed."""

from __future__ import annotations

import secrets
from datetime import datetime

from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.messages.outbox import Recipient, queue_message
from models.people.rights import Action, Principal, through_main
from models.people.users import administrators_of


def tell_of_change(
    session: Session, person: Principal, account: Account, action: Action, template: str, told: str, now: datetime
) -> None:
    """Queue the mail `template` about a change by `person` to each of the account's administrators, `person` included.

    If `person` had the right `action` only by a role in the main account, the main account's administrators get the
    mail, too. `told` is what was changed, as the mail shows it: the numbers, or the SIP user of the trunk.
    """
    readers = {found.id: found for found in administrators_of(session, account.id)}
    if (main_id := through_main(person, action, account)) is not None:
        readers |= {found.id: found for found in administrators_of(session, main_id)}
    facts = {
        "path": f"/standortverwaltung/{account.customer_number}",
        "name": person.name,
        "customer_number": account.customer_number,
        "account_name": account.name,
        "told": told,
    }
    # Each change is told, also the second in one moment.
    occasion = secrets.token_hex(8)
    for reader in readers.values():
        to = Recipient(reader.name, reader.email, reader.locale)
        queue_message(session, None, template, to, facts, now, occasion=occasion)
