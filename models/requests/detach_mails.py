"""The mails about a planned detachment, when it is planned and when it is withdrawn, to the people of both accounts."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session, object_session

from models.accounts.accounts import Account
from models.calendar_days import first_moment
from models.messages.outbox import Recipient, queue_message
from models.people.users import administrators_of, people_to_tell
from models.requests.requests import Request
from models.states import Kind


def tell_of_plan(
    session: Session, request: Request, template: str, now: datetime, name: str = "", *, is_in_file: bool = False
) -> None:
    """Queue the mail `template` about a planned detachment to the administrators of both accounts and to the requester.

    Each person gets one mail. `name` is the person named in the mail as the one who planned the detachment; empty to
    name nobody. `is_in_file`: the detachment is one of many in an uploaded file, and the mail is only for the account's
    other administrators.
    """
    assert request.account_id is not None and request.effective_on is not None
    account, main = (session.get_one(Account, id) for id in (request.account_id, request.main_id))
    facts: dict[str, Any] = {
        "path": f"/anfragen/{request.id}",
        "customer_number": account.customer_number,
        "account_name": account.name,
        "main_customer_number": main.customer_number,
        "main_account_name": main.name,
        "effective_at": first_moment(request.effective_on).isoformat(),
        "name": name,
    }
    own = administrators_of(session, account.id)
    if is_in_file:
        readers = [person for person in own if person.id != request.requested_by]
    else:
        asking = people_to_tell(session, request.requested_by, request.main_id, request.account_id)
        readers = [*asking, *administrators_of(session, main.id), *own]
    for reader in {found.id: found for found in readers}.values():
        to = Recipient(reader.name, reader.email, reader.locale)
        queue_message(session, request.id, template, to, facts, now)


def tell_of_withdrawal(request: Request, now: datetime) -> None:
    """Queue the mails that a planned detachment was withdrawn; do nothing if `request` is no detach request."""
    session = object_session(request)
    if session is not None and request.kind is Kind.DETACH:
        tell_of_plan(session, request, "detach_taken_back", now)
