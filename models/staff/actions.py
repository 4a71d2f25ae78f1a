"""What the carrier's staff do to a request, each action in the name of a member of staff.

An action applies to the request as the person saw it: if the request has changed since, `SeenOtherwise` is raised.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.errors import Forbidden, NotFound
from models.orders.orders import cancel_and_release
from models.people.audit_log import AttributedEntry, AuditEntry, AuditEvent, _told, record
from models.people.rights import Action, Principal, may
from models.people.users import User
from models.proofs.proofs import AddressDocument, latest_document
from models.proofs.submission import decide_document, lock_for_address
from models.requests.requests import Request, TimelineEntry
from models.states import Reason


class SeenOtherwise(Exception):
    """Raised when the request has changed since the page that the person sees was made."""


def retry(session: Session, staff: Principal, id: uuid.UUID, seen: int, now: datetime) -> None:
    """Try a held or failed request again, as a member of the carrier's staff.

    `seen` is the version of the request that the member has seen on the page; `SeenOtherwise` is raised if it has
    changed since, `IllegalTransition` if it is neither held nor failed; or `Forbidden` or `NotFound`.
    """
    request = _locked(session, staff, id)
    _ensure_seen(session, request, seen)
    request.retry(now)
    record_staff_action(session, staff, request, AuditEvent.REQUEST_RETRIED, now)


def cancel(session: Session, staff: Principal, id: uuid.UUID, seen: int, now: datetime) -> None:
    """Cancel a customer's request, as a member of the carrier's staff.

    `seen` is the version of the request that the member has seen on the page; `SeenOtherwise` is raised if it has
    changed since, `TooLate` if it is being provisioned already; or `Forbidden` or `NotFound`.
    """
    request = _locked(session, staff, id)
    _ensure_seen(session, request, seen)
    cancel_and_release(request, Reason.CANCELLED_BY_BACK_OFFICE, now)
    record_staff_action(session, staff, request, AuditEvent.REQUEST_CANCELLED, now)


def decide_on_document(
    session: Session, staff: Principal, id: uuid.UUID, seen: int | None, now: datetime, *, release: bool
) -> None:
    """Accept (`release`) or refuse the document that was uploaded as address proof.

    A refused document leaves the order waiting for the code of the letter or another document. `seen` is the version of
    the request on the page, None at the console. Raises `SeenOtherwise`, `NotAwaited`, `Forbidden` or `NotFound`.
    """
    request = find_for_staff(session, staff, id)
    lock_for_address(session, request)
    if seen is not None:
        _ensure_seen(session, request, seen)
    decide_document(session, session.get_one(User, staff.user_id), request, release=release, now=now)
    deed = AuditEvent.DOCUMENT_RELEASED if release else AuditEvent.DOCUMENT_REFUSED
    record_staff_action(session, staff, request, deed, now)


def open_document(session: Session, staff: Principal, id: uuid.UUID, now: datetime) -> AddressDocument | None:
    """Return the document that was uploaded last, with its content, and record who opened it; None if there is none.

    Raises `Forbidden` or `NotFound`.
    """
    request = find_for_staff(session, staff, id)
    document = latest_document(session, request)
    if document is not None:
        record_staff_action(session, staff, request, AuditEvent.DOCUMENT_OPENED, now)
    return document


def find_for_staff(session: Session, staff: Principal, id: uuid.UUID) -> Request:
    """Return the request. Raises `NotFound`, or `Forbidden` unless the person belongs to the staff."""
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
    """Raise `SeenOtherwise` unless `seen` is the last timeline entry, which serves as version of the request."""
    last = sa.select(sa.func.max(TimelineEntry.id)).where(TimelineEntry.request_id == request.id)
    if session.scalar(last) != seen:
        raise SeenOtherwise


def record_staff_action(session: Session, staff: Principal, request: Request, deed: AuditEvent, now: datetime) -> None:
    """Record what a member of staff has done to a request, in the log of its main account."""
    facts = {"request": str(request.id), "customer_number": request.customer_number}
    record(session, staff, session.get_one(Account, request.main_id), deed, Action.OPERATE, now, facts)


def staff_actions_on(session: Session, request: Request) -> Sequence[AttributedEntry]:
    """Return what staff did to a request, the newest first. One statement."""
    about = sa.select(AuditEntry).where(AuditEntry.account_id == request.main_id, AuditEntry.by_staff)
    return _told(session, about.where(AuditEntry.facts["request"].astext == str(request.id)))
