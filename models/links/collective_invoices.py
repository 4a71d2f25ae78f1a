"""Collective invoices: several customer numbers are billed on one invoice, which a main account pays.

An account on an invoice becomes a sub-account of the account that pays it (`Origin.COLLECTIVE_INVOICE`). When it leaves
the invoice it is detached, unless it was also linked in another way, or is meant to stay. A scheduled job creates the
link and detach requests for this. `models.links.invoice_membership` lets sub-accounts join and leave.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from functools import cache

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, Session, contains_eager, mapped_column, relationship

from models.accounts.accounts import Account
from models.db.base import Base
from models.proofs.proofs import OwnershipProof
from models.requests.new_requests import create_request
from models.requests.requests import Request
from models.states import Kind, ProofMethod
from models.values import Locale

_LOCALE: Locale = "de"


class CollectiveInvoice(Base):
    """One invoice for several accounts, paid by the account `main`. `number` is its unique number in billing."""

    __tablename__ = "collective_invoices"

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True)
    number: Mapped[str] = mapped_column(unique=True)
    main_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"), index=True)

    main: Mapped[Account] = relationship(lazy="raise_on_sql")


class CollectiveInvoiceItem(Base):
    """An account billed by a collective invoice, from `since` until `left_at`.

    `left_at` is null as long as the account is billed by the invoice; such an item is called open. An account has at
    most one open item over all invoices.
    """

    __tablename__ = "collective_invoice_items"

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True)
    invoice_id: Mapped[int] = mapped_column(sa.ForeignKey("collective_invoices.id"), index=True)
    account_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"), index=True)
    since: Mapped[datetime]
    left_at: Mapped[datetime | None]
    stays_linked: Mapped[bool] = mapped_column(default=False, server_default=sa.false())
    """Whether the account stays a sub-account after it has left the invoice, even if the invoice had attached it."""

    invoice: Mapped[CollectiveInvoice] = relationship(lazy="raise_on_sql")
    account: Mapped[Account] = relationship(lazy="raise_on_sql")

    __table_args__ = (
        sa.CheckConstraint("left_at >= since", name="leaves_after_joining"),
        sa.Index(
            "uq_collective_invoice_items_open", "account_id", unique=True, postgresql_where=sa.text("left_at IS NULL")
        ),
    )


class BilledElsewhere(Exception):
    """Raised when the account `customer_number` is to be put on a collective invoice but is already on another one."""

    def __init__(self, customer_number: str) -> None:
        super().__init__(customer_number)
        self.customer_number = customer_number


class OtherPayer(Exception):
    """Raised when an account is to be put on a collective invoice that is paid by another main account."""


def put_on_invoice(session: Session, number: str, main: Account, account: Account, now: datetime) -> bool:
    """Put an account on the collective invoice `number`; create the invoice, paid by `main`, if it does not exist.

    Returns False if the account is on this invoice already, otherwise True. Safe to run twice. Raises `BilledElsewhere`
    if the account is on another collective invoice, and `OtherPayer` if the invoice belongs to another main account.
    """
    made = postgresql.insert(CollectiveInvoice).values(number=number, main_id=main.id).on_conflict_do_nothing()
    session.execute(made)
    invoice = session.scalars(sa.select(CollectiveInvoice).where(CollectiveInvoice.number == number)).one()
    if invoice.main_id != main.id:
        raise OtherPayer(number)
    item = postgresql.insert(CollectiveInvoiceItem).values(invoice_id=invoice.id, account_id=account.id, since=now)
    is_new = session.scalar(item.on_conflict_do_nothing().returning(CollectiveInvoiceItem.id)) is not None
    if open_item(session, account.id, number) is None:
        raise BilledElsewhere(account.customer_number)
    return is_new


def open_items(session: Session) -> Sequence[CollectiveInvoiceItem]:
    """Return the items of all accounts that are billed by a collective invoice, with invoice, payer and account loaded.

    They are sorted by invoice number and customer number.
    """
    query = (
        sa.select(CollectiveInvoiceItem)
        .join(CollectiveInvoiceItem.invoice)
        .join(CollectiveInvoiceItem.account)
        .where(CollectiveInvoiceItem.left_at.is_(None))
        .order_by(CollectiveInvoice.number, Account.customer_number)
    )
    loaded = contains_eager(CollectiveInvoiceItem.invoice).joinedload(CollectiveInvoice.main)
    return session.scalars(query.options(loaded, contains_eager(CollectiveInvoiceItem.account))).all()


def take_off_invoice(session: Session, number: str, account: Account, now: datetime) -> bool:
    """Take the account off the collective invoice `number`, so that the account is billed by itself from now on.

    Return whether the account was on this invoice. Safe to run twice: a second call returns False.
    """
    item = open_item(session, account.id, number)
    if item is None:
        return False
    item.left_at = now
    return True


def open_item(session: Session, account_id: int, number: str) -> CollectiveInvoiceItem | None:
    """Return the item by which the invoice `number` bills the account now; None if the account is not on it."""
    return session.scalar(
        sa.select(CollectiveInvoiceItem)
        .join(CollectiveInvoiceItem.invoice)
        .where(
            CollectiveInvoiceItem.account_id == account_id,
            CollectiveInvoiceItem.left_at.is_(None),
            CollectiveInvoice.number == number,
        )
    )


def own_item(session: Session, account: Account, *, lock: bool = False) -> CollectiveInvoiceItem | None:
    """Return the item by which a collective invoice bills the account now; None if there is none.

    `lock` locks the item's row until the transaction ends.
    """
    query = sa.select(CollectiveInvoiceItem).where(
        CollectiveInvoiceItem.account_id == account.id, CollectiveInvoiceItem.left_at.is_(None)
    )
    return session.scalar(query.with_for_update() if lock else query)


def is_billed_together(session: Session, account: Account) -> bool:
    """Return whether the account is on a collective invoice of its main account; if so, it cannot be detached."""
    return account.id in billed_together(session, [account.id])


def billed_together(session: Session, account_ids: Collection[int]) -> frozenset[int]:
    """Return those ids in `account_ids` whose accounts are on a collective invoice of their main account."""
    return frozenset(session.scalars(_billed(), {"account_ids": list(account_ids)}))


@cache
def _billed() -> sa.Select[int]:
    """Return the query for the ids of accounts that are on a collective invoice of their main account.

    Its parameter `account_ids` has the ids of the accounts to check. Built once for each process, because every view of
    the overview runs it.
    """
    ids = sa.bindparam("account_ids", type_=postgresql.ARRAY(sa.BigInteger))
    return sa.select(Account.id).where(Account.id == sa.any_(ids), billed_by_main())


def billed_by_main() -> sa.ColumnElement[bool]:
    """Return an SQL condition on `Account`: the account is on a collective invoice of its main account."""
    return (
        sa.exists()
        .where(CollectiveInvoiceItem.account_id == Account.id, CollectiveInvoiceItem.left_at.is_(None))
        .where(CollectiveInvoice.id == CollectiveInvoiceItem.invoice_id, CollectiveInvoice.main_id == Account.main_id)
    )


def request_listing(session: Session, item: CollectiveInvoiceItem, now: datetime) -> Request:
    """Create the link request that attaches the account of an open invoice item to the paying account; return it.

    The invoice is recorded as the ownership proof. The request has no requester.
    """
    request = _write(session, Kind.LINK, item.invoice.main, item.account, now, ProofMethod.COLLECTIVE_INVOICE)
    proof = OwnershipProof(
        request_id=request.id, account_id=item.account_id, method=ProofMethod.COLLECTIVE_INVOICE, proved_at=now
    )
    session.add(proof)
    request.note(now, "invoice_joined", customer_number=request.customer_number, invoice=item.invoice.number)
    return request


def prove_by_invoice(session: Session, request: Request, item: CollectiveInvoiceItem, now: datetime) -> None:
    """Record the item's collective invoice as ownership proof of a link request, and schedule the request for now."""
    proof = {"account_id": item.account_id, "method": ProofMethod.COLLECTIVE_INVOICE, "proved_at": now}
    session.add(OwnershipProof(request_id=request.id, **proof))
    request.make_due(now)


def request_leaving(session: Session, main: Account, account: Account, now: datetime) -> Request:
    """Create the detach request for an account that has left the collective invoice of its main account; return it.

    `main` is the main account. Call it after the account was taken off the invoice: this function changes no invoice.
    The request has no requester, and its timeline says that the account has left the invoice.
    """
    request = _write(session, Kind.DETACH, main, account, now, None)
    request.note(now, "invoice_left", customer_number=request.customer_number)
    return request


def _write(
    session: Session, kind: Kind, main: Account, account: Account, now: datetime, proof: ProofMethod | None
) -> Request:
    return create_request(
        session,
        Request(
            kind=kind,
            main_id=main.id,
            account_id=account.id if kind is Kind.DETACH else None,
            customer_number=account.customer_number,
            # Nobody asks: the main account's administrators are told, each in their language.
            requested_by=None,
            locale=_LOCALE,
            asked_proof=proof,
        ),
        now,
    )
