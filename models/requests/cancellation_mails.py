"""The mails about a cancellation: when it is requested, when it is withdrawn, and when it has closed the account."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.messages.outbox import Recipient, queue_message
from models.people.users import User, administrators_of, people_to_tell
from models.requests.requests import Request


def tell_of_cancellation(
    session: Session, request: Request, template: str, now: datetime, *, is_in_file: bool = False
) -> None:
    """Queue the mail `template` about a cancellation, with the date of its request and the last day of the contracts.

    The recipients are the user who requested the cancellation, if they still belong to the company, and each
    administrator of the account and of its present main account. `is_in_file`: the cancellation is one of many in an
    uploaded file, and the mail is for the account's other administrators only. Call this before the account is detached
    and closed.
    """
    assert request.account_id is not None
    account = session.get_one(Account, request.account_id)
    main_id = account.main_id if account.main_id is not None else account.id
    own = administrators_of(session, account.id)
    if is_in_file:
        told = [person for person in own if person.id != request.requested_by]
    else:
        told = people_to_tell(session, request.requested_by, main_id, request.account_id)
        told += [*administrators_of(session, main_id), *own]
    requester = session.get(User, request.requested_by) if request.requested_by is not None else None
    facts: dict[str, Any] = {
        # Nobody sees the request of a closed account that had no main account.
        "path": "/standortverwaltung" if template == "cancellation_completed" else f"/anfragen/{request.id}",
        "customer_number": request.customer_number,
        "account_name": account.name,
        "requester_name": requester.name if requester is not None else "",
        "noticed_at": request.created_at.isoformat(),
        "ends_at": request.effective_at.isoformat(),
    }
    for person in {person.email: person for person in told}.values():
        queue_message(session, request.id, template, Recipient(person.name, person.email, person.locale), facts, now)
