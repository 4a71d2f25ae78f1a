"""Checking the codes that prove an order's claims: the contact's e-mail address and the connection address.

Functions that take a code return whether the code was right. A wrong code changes nothing.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account, account_by_number
from models.db.caller import Named, name_to_database
from models.errors import NotAwaited
from models.proofs.proof_book import ProofBook
from models.proofs.proofs import NOBODY, AddressProof, EmailProof
from models.proofs.shared_proofs import lock_pending, orders_of_contact, pending, proved_by
from models.requests.requests import Request
from models.states import ENDED, PROVING_ADDRESS, AddressMethod, Kind
from models.vault import Vault


def confirm_email(session: Session, vault: Vault, request: Request, typed: str, now: datetime) -> bool:
    """Confirm the e-mail address of the order's contact by the code from the mail; return whether the code is right.

    `typed` is the code as the person typed it. Safe to run twice: the code stays right. One mail serves all orders of
    the main account with this contact. The pending ones are locked; if the address is newly confirmed, their next steps
    are scheduled for now. Raises `NotAwaited` if `request` is no order, if no proof of the address was requested, or if
    the address is not confirmed and none of these orders is pending.
    """
    if request.kind is not Kind.ORDER:
        raise NotAwaited
    orders = orders_of_contact(request)
    awaited = bool(lock_pending(session, orders))
    proof = ProofBook(session, [request]).email(request)
    right = _is_right(vault, proof, typed, now, awaited=awaited)
    if right and proof is not None and proof.proved_at is None:
        proof.proved_at = now
        _wake(session, orders, now)
    return right


def is_email_awaited(session: Session, request: Request) -> bool:
    """Return whether this order, or an order that shares its mail to the contact, has not ended yet.

    The mail asks the contact to confirm the e-mail address. All orders of a main account whose contact has the same
    address share it. Does not check whether the address is confirmed already.
    """
    running = orders_of_contact(request).where(Request.status.not_in(ENDED))
    return session.scalar(running.limit(1)) is not None


def enter_letter_code(session: Session, vault: Vault, request: Request, typed: str, now: datetime) -> bool:
    """Prove an order's or a move's connection address by the code from the letter; return whether the code is right.

    `typed` is the code as the person typed it. Safe to run twice: the code stays right. One letter serves all orders of
    the main account with this address. If the address is newly proved, their next steps are scheduled for now. Locks
    the pending orders of the main account with this postal code; of a move, the pending requests that share its proof.
    Raises `NotAwaited` if `request` is neither an order nor a move, if no proof of the address was requested, or if the
    address is not proved and none of the requests with this address is pending.
    """
    if request.kind not in PROVING_ADDRESS:
        raise NotAwaited
    shared = request.prover_id, request.place.key
    awaited = any((order.prover_id, order.place.key) == shared for order in lock_pending(session, proved_by(request)))
    proof = ProofBook(session, [request]).address(request)
    right = _is_right(vault, proof, typed, now, awaited=awaited)
    if right and proof is not None and proof.proved_at is None:
        prove_address(session, request, AddressMethod.LETTER, now, None)
    return right


def answer_letter(session: Session, vault: Vault, customer_number: str, typed: str, now: datetime) -> Request | None:
    """Prove a connection address, without a login, by the customer number and the code that are printed in a letter.

    `typed` is the code as the person typed it. Returns the order, or the running move, with this customer number.
    Returns None if the customer number or the code is wrong, or if its address is neither proved nor waiting to be
    proved. The same statements run in every case, so that a stranger learns nothing from the duration.
    """
    name_to_database(session, Named.CUSTOMER_NUMBER, customer_number)
    account = account_by_number(session, customer_number)
    account_id = account.id if account is not None else None
    running_move = sa.and_(Request.kind == Kind.MOVE, Request.status.not_in(ENDED))
    asked = sa.select(Request).where(Request.account_id == account_id, sa.or_(Request.kind == Kind.ORDER, running_move))
    # A move comes after the order by which the account began.
    order = session.scalar(asked.order_by((Request.kind == Kind.MOVE).desc()).limit(1))
    name_to_database(session, Named.REQUEST, *([order.id] if order is not None else []))
    try:
        right = enter_letter_code(session, vault, order or _nobodys_order(), typed, now)
    except NotAwaited:
        right = False
    return order if right else None


def lock_for_address(session: Session, request: Request) -> bool:
    """Lock all pending orders and moves that have the main account and the postal code of `request`.

    Returns whether `request` itself is pending, and so one of those locked. If it is neither an order nor a move, locks
    nothing and returns False. To avoid a deadlock, call this before any of these orders is locked on its own.
    """
    return request.kind in PROVING_ADDRESS and request in lock_pending(session, proved_by(request))


def prove_address(session: Session, request: Request, method: AddressMethod, now: datetime, by: int | None) -> None:
    """Complete the proof of an order's connection address, and schedule the next steps of the orders there for now.

    These are all pending orders of the main account with this address, and moves of its sub-accounts there. `by` is the
    id of the member of staff who accepted a document, None for a letter. To avoid a deadlock between two orders, the
    caller must have called `lock_for_address`, or `lock_pending` for the orders with this postal code.
    """
    proof = ProofBook(session, [request]).address(request)
    assert proof is not None
    proof.prove(method, now, by)
    _wake(session, proved_by(request), now, request.place.key)


def _is_right(
    vault: Vault, proof: EmailProof | AddressProof | None, typed: str, now: datetime, *, awaited: bool
) -> bool:
    """Return whether the typed text is the valid code of the proof.

    The code of a proof that is completed already stays right. `awaited`: a pending order waits for the proof. Raises
    `NotAwaited` if `proof` is None, or if it is neither completed nor awaited.
    """
    if proof is not None and proof.proved_at is not None:
        return vault.is_code(typed, *proof.words())
    if proof is None or not awaited:
        raise NotAwaited
    return proof.try_code(vault, typed, proof.words(), now)


def _nobodys_order() -> Request:
    account = Account(street="", postal_code="", city="", contact_email="")
    return Request(kind=Kind.ORDER, main_id=NOBODY, account=account)


def _wake(session: Session, orders: sa.Select[Request], now: datetime, key: str | None = None) -> None:
    """Schedule the next steps of pending orders for now, because a proof for which they have waited was given.

    `orders` is a query; the pending ones of its orders are locked, after waiting for workers that have locked them.
    With `key`, the `address_key` of a connection address, only orders with that address are scheduled.
    """
    # In the order in which the workers lock them. One that a worker is looking at is waited for: it may have read
    # the proof before it was given.
    for request in session.scalars(pending(orders).order_by(Request.id).with_for_update(of=Request)):
        if key is None or request.place.key == key:
            request.make_due(now)
