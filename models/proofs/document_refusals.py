"""Refusing a document that was to prove an address: the reason, a note for the customer, and the mail that is sent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.messages.outbox import Recipient, queue_message
from models.people.users import people_to_tell
from models.proofs.documents import AddressDocument
from models.requests.requests import Request
from models.states import RefusalReason

MOST_NOTE = 500
"""The most characters of the note to the customer."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a document is refused, and a note of staff for the customer, "" if there is none."""

    reason: RefusalReason = RefusalReason.DOES_NOT_SHOW
    note: str = ""


def refuse(session: Session, request: Request, document: AddressDocument, refusal: Refusal, now: datetime) -> None:
    """Save `refusal` in the document, add a timeline entry to the order, and queue a mail that tells the customer why.

    The mail goes to the user who placed the order or, if this user has left the company or is disabled, to the
    administrators of the main account.
    """
    document.refusal, document.refusal_note = refusal.reason, refusal.note or None
    request.note(now, "document_refused", refusal=refusal.reason, refusal_note=refusal.note)
    main, account = session.get_one(Account, request.main_id), request.account
    assert account is not None
    for person in people_to_tell(session, request.requested_by, request.main_id, request.account_id):
        queue_message(
            session,
            request.id,
            "document_refused",
            Recipient(person.name, person.email, person.locale),
            {
                "customer_number": request.customer_number,
                "main_customer_number": main.customer_number,
                "location_name": account.name,
                "street": account.street,
                "postal_code": account.postal_code,
                "city": account.city,
                "document_name": document.name,
                "refusal": refusal.reason,
                "refusal_note": refusal.note,
                "path": f"/anfragen/{request.id}",
            },
            now,
            occasion=str(document.id),
        )
