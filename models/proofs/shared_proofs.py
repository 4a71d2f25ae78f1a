"""Queries for the orders and moves that share a proof: same main account, and same contact or connection address."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session, contains_eager

from models.accounts.accounts import Account
from models.requests.requests import Request
from models.states import Kind, Status


def orders_of_contact(order: Request) -> sa.Select[Request]:
    """Return a query for all orders with the main account and the contact's e-mail address of `order`, itself included.

    Each order is joined with its account.
    """
    assert order.account is not None
    return orders_with_contact(order.main_id, order.account.contact_email)


def orders_with_contact(main_id: int, address: str) -> sa.Select[Request]:
    """Return a query for all orders of a main account whose contact has this e-mail address.

    Each order is joined with its account.
    """
    return _orders(main_id).where(Account.contact_email == address)


def pending(orders: sa.Select[Request]) -> sa.Select[Request]:
    """Restrict a query for orders to those with status `pending`, and load each order's account in the same statement.

    The query must have joined the accounts.
    """
    return orders.where(Request.status == Status.PENDING).options(contains_eager(Request.account))


def lock_pending(session: Session, orders: sa.Select[Request]) -> Sequence[Request]:
    """Lock those of the queried orders that are pending, in the order of their ids, and return them.

    Orders and their accounts are read anew. Call this before locking a proof: workers lock requests before proofs, and
    the opposite sequence could deadlock.
    """
    locking = pending(orders).order_by(Request.id).with_for_update(of=Request)
    # Read anew: the transaction that held the locks may have changed them.
    return session.scalars(locking.execution_options(populate_existing=True)).all()


def orders_in_town(order: Request) -> sa.Select[Request]:
    """Return a query for all orders and moves that may share the proof of the address of `order`, itself included.

    `order` may be a move, too. They have its postal code (moves the new one) and `Request.prover_id`. Each request is
    joined with its account. Compare the keys of the results' places (`Request.place`) to find equal addresses.
    """
    return sa.select(Request).join(Request.account).where(_shares(order))


def proved_by(order: Request) -> sa.Select[Request]:
    """Return a query for all orders and moves there that the proof of the address of `order` lets go on.

    These are the ones that share the proof (`orders_in_town`), and moves of accounts whose main account gives it: such
    a move has a proof of its own, but needs none if its main account has proved the address. Each request is joined
    with its account. Compare the keys of the results' places (`Request.place`) to find equal addresses.
    """
    code = order.place.postal_code
    moves = Request.kind == Kind.MOVE, Request.main_id == order.prover_id, Request.new_postal_code == code
    return sa.select(Request).join(Request.account).where(sa.or_(_shares(order), sa.and_(*moves)))


def another_has_contact(session: Session, order: Request) -> bool:
    """Return whether another pending order of the main account has the same contact e-mail address as `order`."""
    return session.scalar(sa.select(orders_of_contact(order).where(*_waits_besides(order)).exists())) or False


def another_has_address(session: Session, order: Request) -> bool:
    """Return whether another pending order or move of the main account has the connection address of `order`."""
    key = order.place.key
    others = orders_in_town(order).where(*_waits_besides(order)).options(contains_eager(Request.account))
    return any(other.place.key == key for other in session.scalars(others))


def _shares(order: Request) -> sa.ColumnElement[bool]:
    code = order.place.postal_code
    there = sa.or_(
        sa.and_(Request.kind == Kind.ORDER, Request.main_id == order.prover_id, Account.postal_code == code),
        sa.and_(Request.kind == Kind.MOVE, Request.account_id == order.prover_id, Request.new_postal_code == code),
    )
    return sa.and_(Request.main_id == order.main_id, there)


def _orders(main_id: int) -> sa.Select[Request]:
    orders = sa.select(Request).join(Request.account)
    return orders.where(Request.main_id == main_id, Request.kind == Kind.ORDER)


def _waits_besides(order: Request) -> tuple[sa.ColumnElement[bool], ...]:
    return Request.status == Status.PENDING, Request.id != order.id
