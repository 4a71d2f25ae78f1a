"""Actions on a request by the carrier's staff: retry, cancel, and decide on a document. Each is logged in their name.

An action is refused with `SeenOtherwise` if the request has changed since the person saw it on the page.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.errors import Forbidden, NotFound
from models.orders.orders import cancel_and_release
from models.people.audit_log import AttributedEntry, AuditEntry, AuditEvent, _told, record
from models.people.rights import Action, Principal, may
from models.people.users import User
from models.proofs.document_refusals import Refusal
from models.proofs.document_review import decide_document, lock_for_document
from models.proofs.documents import ProofDocument, latest_document
from models.requests.requests import Request
from models.requests.timeline import TimelineEntry
from models.states import Kind, Reason

_OF_DOCUMENTS = (AuditEvent.DOCUMENT_OPENED, AuditEvent.DOCUMENT_RELEASED, AuditEvent.DOCUMENT_REFUSED)


class SeenOtherwise(Exception):
    """Raised when a request or question has changed since the person who acts on it saw it on the page."""


def retry(session: Session, staff: Principal, id: uuid.UUID, seen: int, now: datetime) -> None:
    """Retry a held or failed request, as a member of the carrier's staff, and record this in the audit log.

    `seen` is the version of the request that the person saw: the id of its newest timeline entry. Locks the request.
    Raises `SeenOtherwise` if the request has changed since then, `IllegalTransition` if it is neither held nor failed,
    `NotFound` if no request has this id, and `Forbidden` if `staff` is not one of the carrier's staff.
    """
    request = _locked(session, staff, id)
    _ensure_seen(session, request, seen)
    request.retry(now)
    record_staff_action(session, staff, request, AuditEvent.REQUEST_RETRIED, now)


def cancel(session: Session, staff: Principal, id: uuid.UUID, seen: int, now: datetime) -> None:
    """Cancel a customer's request, as a member of the carrier's staff, and record this in the audit log.

    If the request is an order, also closes the account that the order has reserved. `seen` is the version of the
    request that the person saw: the id of its newest timeline entry. Locks the request.

    Raises `SeenOtherwise` if the request has changed since then. Raises `TooLate` if it was completed, rejected or
    cancelled, if its provisioning has begun (and has not failed), if its attaching or detaching has begun, or if a
    worker has claimed it. Raises `NotFound` if no request has this id, and `Forbidden` if `staff` is not one of the
    carrier's staff.
    """
    request = _locked(session, staff, id)
    _ensure_seen(session, request, seen)
    cancel_and_release(request, Reason.CANCELLED_BY_BACK_OFFICE, now)
    record_staff_action(session, staff, request, AuditEvent.REQUEST_CANCELLED, now)


def decide_on_document(
    session: Session,
    staff: Principal,
    id: uuid.UUID,
    seen: int | None,
    now: datetime,
    *,
    refusal: Refusal | None,
) -> None:
    """Accept or refuse the document that was uploaded as a proof, and record this in the audit log.

    `refusal` is the reason of a refusal, which the customer reads; None accepts the document. After a refusal the
    request waits for another document, and an order also for the code from the letter. `seen` is the version of the
    request that the person saw (the id of its newest timeline entry), None on the command line. Raises `SeenOtherwise`
    if the request has changed since then, `NotAwaited` if no document is undecided or the request is not pending,
    `NotFound` if no request has this id, and `Forbidden` if `staff` is not one of the carrier's staff.
    """
    request = find_for_staff(session, staff, id)
    lock_for_document(session, request)
    if seen is not None:
        _ensure_seen(session, request, seen)
    decide_document(session, session.get_one(User, staff.user_id), request, refusal=refusal, now=now)
    deed = AuditEvent.DOCUMENT_RELEASED if refusal is None else AuditEvent.DOCUMENT_REFUSED
    record_staff_action(session, staff, request, deed, now)


def open_document(session: Session, staff: Principal, id: uuid.UUID, now: datetime) -> ProofDocument | None:
    """Return the request's newest uploaded document, and record in the audit log who opened it; None if there is none.

    The document may already be decided on. Raises `NotFound` if no request has this id, and `Forbidden` if `staff` is
    not one of the carrier's staff.
    """
    request = find_for_staff(session, staff, id)
    document = latest_document(session, request)
    if document is not None:
        record_staff_action(session, staff, request, AuditEvent.DOCUMENT_OPENED, now)
    return document


def find_for_staff(session: Session, staff: Principal, id: uuid.UUID) -> Request:
    """Return the request with this id.

    Raises `NotFound` if there is none, and `Forbidden` if `staff` is not one of the carrier's staff.
    """
    return _allowed(session, staff, session.get(Request, id))


def _locked(session: Session, staff: Principal, id: uuid.UUID) -> Request:
    return _allowed(session, staff, session.get(Request, id, with_for_update=True))


def _allowed(session: Session, staff: Principal, request: Request | None) -> Request:
    if request is None:
        raise NotFound
    if not may(staff, Action.OPERATE, session.get_one(Account, request.main_id)):
        raise Forbidden
    return request


def _ensure_seen(session: Session, request: Request, seen: int) -> None:
    """Raise `SeenOtherwise` unless `seen` is the request's version, the id of its newest timeline entry."""
    last = sa.select(sa.func.max(TimelineEntry.id)).where(TimelineEntry.request_id == request.id)
    if session.scalar(last) != seen:
        raise SeenOtherwise


def record_staff_action(session: Session, staff: Principal, request: Request, deed: AuditEvent, now: datetime) -> None:
    """Record in the audit log of the request's main account that a member of staff performed `deed` on the request."""
    facts: dict[str, Any] = {"request": str(request.id), "customer_number": request.customer_number}
    if deed in _OF_DOCUMENTS and request.kind is Kind.NUMBERS:
        facts["certificate"] = True
    record(session, staff, session.get_one(Account, request.main_id), deed, Action.OPERATE, now, facts)


def staff_actions_on(session: Session, request: Request) -> Sequence[AttributedEntry]:
    """Return the audit entries of the staff's actions on a request, the newest first.

    Entries that only say that staff looked at the request are left out. Runs one statement.
    """
    # Not by the main account, to which the request may have come later.
    about_it = sa.literal_column("audit_entries.facts ->> 'request'") == str(request.id)
    about = sa.select(AuditEntry).where(AuditEntry.by_staff, about_it, AuditEntry.deed != AuditEvent.REQUEST_SEEN)
    return _told(session, about)
