"""What the carrier's staff do to a request: each verb in the name of who does it, and for the request as they saw it.

Nothing is done twice, and nothing to what has changed meanwhile: whoever was slower is told.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.errors import Forbidden, NotFound
from models.orders.orders import call_off
from models.people.audit_log import AttributedEntry, AuditEntry, Deed, _told, record
from models.people.rights import Action, Principal, may
from models.people.users import User
from models.proofs.proofs import AddressDocument, latest_document
from models.proofs.submission import decide_document, lock_for_address
from models.requests.requests import Request, TimelineEntry
from models.states import Reason


class SeenOtherwise(Exception):
    """Something has happened to the request since the page was made that the person goes by."""


def retry(session: Session, staff: Principal, id: uuid.UUID, seen: int, now: datetime) -> None:
    """Try a held or failed request again. Raises `SeenOtherwise`, `IllegalTransition`, `Forbidden` or `NotFound`."""
    request = _locked(session, staff, id)
    _ensure_seen(session, request, seen)
    request.retry(now)
    record_staff_action(session, staff, request, Deed.REQUEST_RETRIED, now)


def cancel(session: Session, staff: Principal, id: uuid.UUID, seen: int, now: datetime) -> None:
    """Call a request off for the carrier. Raises `SeenOtherwise`, `TooLate`, `Forbidden` or `NotFound`."""
    request = _locked(session, staff, id)
    _ensure_seen(session, request, seen)
    call_off(request, Reason.CANCELLED_BY_BACK_OFFICE, now)
    record_staff_action(session, staff, request, Deed.REQUEST_CANCELLED, now)


def decide_on_document(
    session: Session, staff: Principal, id: uuid.UUID, seen: int | None, now: datetime, *, release: bool
) -> None:
    """Accept the document that was handed in as address proof, or refuse it.

    `seen`: None for whoever goes by no page. Raises `SeenOtherwise`, `NotAwaited`, `Forbidden` or `NotFound`.
    """
    request = find_for_staff(session, staff, id)
    lock_for_address(session, request)
    if seen is not None:
        _ensure_seen(session, request, seen)
    decide_document(session, session.get_one(User, staff.user_id), request, release=release, now=now)
    deed = Deed.DOCUMENT_RELEASED if release else Deed.DOCUMENT_REFUSED
    record_staff_action(session, staff, request, deed, now)


def open_document(session: Session, staff: Principal, id: uuid.UUID, now: datetime) -> AddressDocument | None:
    """The document that was handed in last, with its content, and a note of who has looked at it; None for none.

    Raises `Forbidden` or `NotFound`.
    """
    request = find_for_staff(session, staff, id)
    document = latest_document(session, request)
    if document is not None:
        record_staff_action(session, staff, request, Deed.DOCUMENT_OPENED, now)
    return document


def find_for_staff(session: Session, staff: Principal, id: uuid.UUID) -> Request:
    """The request. Raises `NotFound`, or `Forbidden` for whoever does not belong to the staff."""
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
    """Whatever happens to a request leaves a line in its timeline: the last one is its version."""
    last = sa.select(sa.func.max(TimelineEntry.id)).where(TimelineEntry.request_id == request.id)
    if session.scalar(last) != seen:
        raise SeenOtherwise


def record_staff_action(session: Session, staff: Principal, request: Request, deed: Deed, now: datetime) -> None:
    """Write down what somebody of the staff has done to a request, for the main account that it is for."""
    facts = {"request": str(request.id), "customer_number": request.customer_number}
    record(session, staff, session.get_one(Account, request.main_id), deed, Action.OPERATE, now, facts)


def staff_actions_on(session: Session, request: Request) -> Sequence[AttributedEntry]:
    """What staff did to a request, the newest first. One statement."""
    about = sa.select(AuditEntry).where(AuditEntry.account_id == request.main_id, AuditEntry.by_staff)
    return _told(session, about.where(AuditEntry.facts["request"].astext == str(request.id)))
