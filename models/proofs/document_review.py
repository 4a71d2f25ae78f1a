"""Documents that are to prove a connection address: customers upload them, and staff accept or refuse them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from models.errors import Forbidden, NotAwaited
from models.people.rights import Principal
from models.people.users import User
from models.proofs.document_refusals import Refusal, refuse
from models.proofs.documents import AddressDocument
from models.proofs.order_codes import lock_for_address, prove_address
from models.proofs.proof_book import ProofBook
from models.requests.requests import Request
from models.states import AddressMethod, Kind, Status


def upload_document(
    session: Session, principal: Principal, request: Request, name: str, media_type: str, content: bytes, now: datetime
) -> AddressDocument:
    """Save an uploaded document that is to prove the order's connection address, for the back office to decide on.

    `name` is the file's name, `media_type` its type, such as `application/pdf`. If the order has a document that is not
    decided on yet, it is replaced. Adds a timeline entry, and schedules the order's next step for now. Raises
    `NotAwaited` unless `request` is a pending order whose address proof was requested and is not completed yet.
    """
    book = ProofBook(session, [request])
    proof = book.address(request) if (request.kind, request.status) == (Kind.ORDER, Status.PENDING) else None
    if proof is None or proof.proved_at is not None:
        raise NotAwaited
    document = book.document(request) or AddressDocument(request_id=request.id)
    document.name, document.media_type, document.content = name, media_type, content
    document.uploaded_at, document.uploaded_by = now, principal.user_id
    session.add(document)
    request.note(now, "document_received", name=name)
    request.make_due(now)
    return document


def decide_document(
    session: Session,
    staff: User,
    request: Request,
    *,
    refusal: Refusal | None,
    now: datetime,
) -> None:
    """Accept or refuse the document uploaded for an order, and schedule the order's next step for now.

    `refusal` says why the document is refused; the customer is told by mail. None accepts the document, which proves
    the connection address for all orders of the main account at this address. Adds a timeline entry, and locks the
    pending orders with the same postal code. Raises `Forbidden` unless `staff` is one of the carrier's staff, and
    `NotAwaited` if the order is not pending or has no undecided document.
    """
    if not staff.is_staff:
        raise Forbidden
    awaited = lock_for_address(session, request)
    document = ProofBook(session, [request]).document(request)
    if document is None or not awaited:
        raise NotAwaited
    document.released, document.decided_at, document.decided_by = refusal is None, now, staff.id
    if refusal is not None:
        refuse(session, request, document, refusal, now)
    else:
        request.note(now, "document_released")
        prove_address(session, request, AddressMethod.DOCUMENT, now, staff.id)
    request.make_due(now)
