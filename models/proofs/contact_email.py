"""The e-mail address of an order's contact: correcting it, and recording that a mail server has refused mail to it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.accounts.company_limits import Limit, Limits, take_one
from models.errors import InvalidField, NotAwaited
from models.messages.outbox import Message, Recipient, queue_message
from models.people.rights import Principal
from models.people.users import User
from models.proofs.proof_book import ProofBook
from models.proofs.proofs import EmailProof
from models.proofs.required_proofs import order_proofs
from models.proofs.shared_proofs import lock_pending, orders_of_contact, orders_with_contact
from models.requests.requests import Request
from models.requests.timeline import TimelineEntry
from models.states import Kind, Status

MOST_CORRECTIONS = 3
"""How often the contact's address of an order can be corrected, so that an order cannot be used to mail anybody."""
CONTACT_MAIL = "email_code"
"""The template of the mail that asks a contact to confirm the e-mail address."""


def corrections_left(session: Session, request: Request) -> int:
    """Return how many more times the e-mail address of the order's contact can be corrected, at most 3 times in all.

    Returns 0 unless the order is pending and waits for the contact to confirm the address.
    """
    if request.kind is not Kind.ORDER or request.status is not Status.PENDING:
        return 0
    if not _awaiting(session, [request], lock=False):
        return 0
    return _left(session, request)


def correct_contact(
    session: Session, principal: Principal, request: Request, address: str, now: datetime, usual: Limits
) -> int:
    """Replace the e-mail address of a pending order's contact, who is then asked by mail to confirm the new address.

    All other pending orders of the main account whose contact has not confirmed the old address get the new one, too.
    They are locked, and their next steps scheduled for now. Code and link of the old mail become useless for them.
    Returns the number of orders changed. `usual` are the limits of companies that have none of their own.

    Raises `NotAwaited` if the order does not wait for the contact, or was corrected `MOST_CORRECTIONS` (3) times
    already. Raises `InvalidField` if the address is the old one, and `LimitReached` if the company's daily limit allows
    no further contact.
    """
    if request.kind is not Kind.ORDER or request.account is None:
        raise NotAwaited
    old, new = request.account.contact_email, address.strip().lower()
    orders = lock_pending(session, orders_of_contact(request))
    # Both at once and in one order, as two corrections may exchange two addresses.
    both = EmailProof.main_id == request.main_id, EmailProof.address.in_([old, new])
    session.scalars(sa.select(EmailProof).where(*both).order_by(EmailProof.address).with_for_update()).all()
    awaiting = _awaiting(session, orders)
    if request not in awaiting or not _left(session, request):
        raise NotAwaited
    if new == old:
        raise InvalidField("contact.email", "same_address")
    others = orders_with_contact(request.main_id, new).where(Request.status == Status.PENDING)
    asked_before = session.scalar(sa.select(others.exists()))
    for order in awaiting:
        assert order.account is not None
        order.account.contact_email = new
        order.note(now, "contact_corrected", by=principal.name, name=order.account.contact_name, address=new)
        order.make_due(now)
    session.flush()
    proof = session.get(EmailProof, (request.main_id, new), populate_existing=True)
    is_open = proof is not None and proof.proved_at is None and now >= proof.asked_at + proof.new_after
    is_asked_anew = proof is not None and is_open and (proof.is_stale(now) or not asked_before)
    if proof is None or is_asked_anew:
        # Otherwise two addresses that are exchanged for one another would get mails without end.
        take_one(session, request.main_id, Limit.CONTACTS, now, usual)
    if proof is not None and is_asked_anew:
        proof.renew(now)
    return len(awaiting)


def note_refused(session: Session, message: Message, now: datetime) -> None:
    """Record that a mail server has permanently refused the mail that asks a contact to confirm the e-mail address.

    `message` is that mail, of template `CONTACT_MAIL`. All orders that wait for the confirmation get a timeline entry,
    and their next steps are scheduled for now. Each user who placed some of these orders gets one mail. Does nothing if
    the mail carried an older code than the current one, or if the address is confirmed already.
    """
    words = message.proof
    assert words is not None
    main_id, address, issue = int(words[1]), words[2], int(words[3])
    orders = lock_pending(session, orders_with_contact(main_id, address))
    proof = session.get(EmailProof, (main_id, address), with_for_update=True, populate_existing=True)
    if proof is None or proof.proved_at is not None or proof.issue != issue:
        return
    awaiting = _awaiting(session, orders)
    proof.refused_at = now
    placed: dict[int, list[Request]] = defaultdict(list)
    for order in awaiting:
        assert order.account is not None
        order.note(now, "contact_refused", name=order.account.contact_name, address=address)
        order.make_due(now)
        if order.requested_by is not None:
            placed[order.requested_by].append(order)
    main = session.get_one(Account, main_id)
    for user_id, theirs in placed.items():
        person, first = session.get_one(User, user_id), theirs[0]
        assert first.account is not None
        queue_message(
            session,
            first.id,
            "contact_refused",
            Recipient(person.name, person.email, person.locale),
            {
                "path": f"/anfragen/{first.id}",
                "customer_number": first.customer_number,
                "main_customer_number": main.customer_number,
                "location_name": first.account.name,
                "contact_name": first.account.contact_name,
                "contact_email": address,
                "others": len(theirs) - 1,
                "until": proof.expires_at.isoformat(),
            },
            now,
            occasion=f"{address} {issue}",
            bulk_id=first.bulk_id,
        )


def _awaiting(session: Session, orders: Sequence[Request], *, lock: bool = True) -> list[Request]:
    """Return those of the orders whose contact was asked to confirm the e-mail address and has not done so.

    With `lock`, locks the rows of the orders' uncompleted e-mail proofs until the transaction ends.
    """
    book = ProofBook(session, orders, lock=lock)
    people = sa.select(User).where(User.id.in_({order.requested_by for order in orders}))
    requesters = {person.id: person for person in session.scalars(people)}
    found = []
    for order in orders:
        proofs = order_proofs(book, order, requesters.get(order.requested_by or 0))
        if proofs.email is not None and proofs.awaits_email:
            found.append(order)
    return found


def _left(session: Session, request: Request) -> int:
    corrected = sa.select(sa.func.count()).select_from(TimelineEntry)
    of_request = corrected.where(TimelineEntry.request_id == request.id, TimelineEntry.code == "contact_corrected")
    return max(0, MOST_CORRECTIONS - (session.scalar(of_request) or 0))
