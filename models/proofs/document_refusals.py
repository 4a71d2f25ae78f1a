"""Refusing a document that was to prove an address or a need for numbers: reason, note, mail to the customer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.messages.outbox import Recipient, queue_message
from models.people.users import people_to_tell
from models.proofs.certificates import certificate_until, numbers_without_certificate
from models.proofs.documents import ProofDocument
from models.requests.requests import Request
from models.states import PROVING_ADDRESS, Kind, RefusalReason

MOST_NOTE = 500
"""The most characters of the note of staff to the customer."""
_OF_CERTIFICATES = (
    RefusalReason.NO_NEED,
    RefusalReason.UNREADABLE,
    RefusalReason.OTHER_COMPANY,
    RefusalReason.TOO_OLD,
    RefusalReason.OTHER,
)
_OF_ADDRESSES = tuple(reason for reason in RefusalReason if reason is not RefusalReason.NO_NEED)


@dataclass(frozen=True, slots=True)
class Refusal:
    """The refusal of a document: its reason, and a note of staff for the customer, "" if there is none."""

    reason: RefusalReason = RefusalReason.DOES_NOT_SHOW
    note: str = ""


def refusal_reasons(request: Request) -> tuple[RefusalReason, ...]:
    """Return the reasons for which a document of this request can be refused.

    They are those for certificates of need if it is a request for numbers, otherwise those for address proofs.
    """
    return _OF_CERTIFICATES if request.kind is Kind.NUMBERS else _OF_ADDRESSES


def refuse(session: Session, request: Request, document: ProofDocument, refusal: Refusal, now: datetime) -> None:
    """Save `refusal` in the document, add a timeline entry to the request, and queue a mail that says why.

    The mail goes to the user who made the request or, if this user has left the company or is disabled, to the
    administrators of the main account.
    """
    document.refusal, document.refusal_note = refusal.reason, refusal.note or None
    of_address = request.kind in PROVING_ADDRESS
    request.note(
        now,
        "document_refused" if of_address else "certificate_refused",
        refusal=refusal.reason,
        refusal_note=refusal.note,
    )
    facts = _about_address(session, request) if of_address else _about_certificate(session, request, document)
    for person in people_to_tell(session, request.requested_by, request.main_id, request.account_id):
        queue_message(
            session,
            request.id,
            "document_refused" if of_address else "certificate_refused",
            Recipient(person.name, person.email, person.locale),
            {
                "customer_number": request.customer_number,
                **facts,
                "document_name": document.name,
                "refusal": refusal.reason,
                "refusal_note": refusal.note,
                "path": f"/anfragen/{request.id}",
            },
            now,
            occasion=str(document.id),
        )


def _about_certificate(session: Session, request: Request, document: ProofDocument) -> dict[str, Any]:
    return {
        "numbers": document.numbers,
        "enough": numbers_without_certificate(session, request),
        "until": certificate_until(request).isoformat(),
    }


def _about_address(session: Session, order: Request) -> dict[str, Any]:
    main, account, place = session.get_one(Account, order.main_id), order.account, order.place
    assert account is not None
    return {
        "kind": order.kind,
        "main_customer_number": main.customer_number,
        "location_name": account.name,
        "street": place.street,
        "postal_code": place.postal_code,
        "city": place.city,
    }
