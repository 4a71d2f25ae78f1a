"""Documents that are to prove a connection address or a need for numbers: customers upload them, staff decide."""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.calendar_days import end_of_day
from models.errors import Forbidden, NotAwaited, TooEarly
from models.people.rights import Principal
from models.people.users import User
from models.proofs.certificates import AWAITED, certificate_until, lock_awaiting, numbers_with
from models.proofs.deadlines import LEAST_LEFT
from models.proofs.document_refusals import Refusal, refuse
from models.proofs.documents import ProofDocument
from models.proofs.order_codes import lock_for_address, prove_address
from models.proofs.proof_book import ProofBook
from models.requests.requests import Request
from models.requests.timeline import TimelineEntry
from models.states import PROVING_ADDRESS, AddressMethod, Kind, Status

MOST_A_DAY = 10
"""How many documents may be uploaded for a request within 24 hours."""
_DAY = timedelta(days=1)


def upload_document(
    session: Session, principal: Principal, request: Request, name: str, media_type: str, content: bytes, now: datetime
) -> ProofDocument:
    """Save and return an uploaded document that is to prove an order's or a move's address; the back office decides.

    `name` is the file's name, `media_type` its type, such as `application/pdf`. A document of the request that is not
    decided on yet is replaced. Adds a timeline entry, and schedules the request's next step for now. Raises
    `NotAwaited` unless `request` is a pending order or move whose address proof was requested and is not completed yet.
    """
    book = ProofBook(session, [request])
    is_asked = request.kind in PROVING_ADDRESS and request.status is Status.PENDING
    proof = book.address(request) if is_asked else None
    if proof is None or proof.proved_at is not None:
        raise NotAwaited
    document = _saved(session, principal, request, book, (name, media_type, content), now)
    request.note(now, "document_received", name=name)
    return document


def upload_certificate(
    session: Session, principal: Principal, request: Request, name: str, media_type: str, content: bytes, now: datetime
) -> ProofDocument:
    """Save and return an uploaded certificate of need for the numbers of a request; the back office decides.

    The certificate has to show the need for all numbers that the trunk has with this request and older running ones.
    `name` is the file's name, `media_type` its type, such as `application/pdf`. A certificate of the request that is
    not decided on yet is replaced. Adds a timeline entry, and schedules the request's next step for now. Raises
    `NotAwaited` unless `request` is a request for numbers that waits for a certificate.
    """
    if request.kind is not Kind.NUMBERS or request.status is not Status.PENDING or request.reason not in AWAITED:
        raise NotAwaited
    document = _saved(session, principal, request, ProofBook(session, [request]), (name, media_type, content), now)
    document.numbers = numbers_with(session, request)
    request.note(now, "certificate_received", name=name, numbers=document.numbers)
    return document


def lock_for_document(session: Session, request: Request) -> bool:
    """Lock all pending requests that a decision on the document of `request` affects.

    These are the orders at the same postal code, or the requests for numbers of the same trunk that wait for a
    certificate. Returns whether `request` itself is one of them. To avoid a deadlock, call this before any of them is
    locked on its own.
    """
    if request.kind is not Kind.NUMBERS:
        return lock_for_address(session, request)
    assert request.changed_trunk_id is not None
    return request in lock_awaiting(session, request.changed_trunk_id)


def decide_document(
    session: Session,
    staff: User,
    request: Request,
    *,
    refusal: Refusal | None,
    now: datetime,
) -> None:
    """Accept or refuse the document uploaded for a request, and schedule the request's next step for now.

    `refusal` says why the document is refused; None accepts the document. An accepted document proves the connection
    address for all orders of the main account at this address. An accepted certificate of need proves the need for
    numbers of the trunk, for all requests that wait for it. After a refusal, the customer is told by mail, and has at
    least seven days (`LEAST_LEFT`) for another certificate.

    Adds a timeline entry, and locks the pending requests with the same postal code or trunk. Raises `Forbidden` unless
    `staff` is one of the carrier's staff, and `NotAwaited` if the request is not pending or has no undecided document.
    """
    if not staff.is_staff:
        raise Forbidden
    awaited = lock_for_document(session, request)
    document = ProofBook(session, [request]).document(request)
    if document is None or not awaited:
        raise NotAwaited
    document.released, document.decided_at, document.decided_by = refusal is None, now, staff.id
    if refusal is not None:
        if request.kind is Kind.NUMBERS:
            # Also after a late refusal there is time for another one.
            request.need_until = max(certificate_until(request), end_of_day(now + LEAST_LEFT))
        refuse(session, request, document, refusal, now)
    elif request.kind is Kind.NUMBERS:
        request.note(now, "certificate_released", numbers=document.numbers)
        assert request.changed_trunk_id is not None
        for waiting in lock_awaiting(session, request.changed_trunk_id):
            waiting.make_due(now)
    else:
        request.note(now, "document_released")
        prove_address(session, request, AddressMethod.DOCUMENT, now, staff.id)
    request.make_due(now)


def _saved(
    session: Session,
    principal: Principal,
    request: Request,
    book: ProofBook,
    file: tuple[str, str, bytes],
    now: datetime,
) -> ProofDocument:
    """Save the file (name, media type, content) as the request's undecided document, and return the document.

    Replaces an undecided document of the request, which `book` finds. Schedules the request's next step for now. Raises
    `TooEarly` if `MOST_A_DAY` (10) documents of the request have come within 24 hours: each has its line in the
    timeline.
    """
    came = sa.select(TimelineEntry.at).where(
        TimelineEntry.request_id == request.id,
        TimelineEntry.code.in_(("document_received", "certificate_received")),
        TimelineEntry.at > now - _DAY,
    )
    first = session.scalar(came.order_by(TimelineEntry.at.desc()).offset(MOST_A_DAY - 1).limit(1))
    if first is not None:
        raise TooEarly(first + _DAY)
    document = book.document(request) or ProofDocument(request_id=request.id)
    document.name, document.media_type, document.content = file
    document.uploaded_at, document.uploaded_by = now, principal.user_id
    session.add(document)
    request.make_due(now)
    return document
