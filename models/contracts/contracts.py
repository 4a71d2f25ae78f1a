"""The tables of contracts and their items: the products that an account is billed for, at the prices agreed."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import asdict
from datetime import date, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship

from models.calendar_days import berlin_day
from models.contracts.catalogue import HasTerms, PriceLine, term_checks
from models.contracts.terms import OPEN_TERMS, ContractTerms, earliest_end
from models.db.base import Base


class Contract(HasTerms, Base):
    """One contract of an account, with its agreed terms in months; `ended_at` is null while the contract runs.

    Neither later terms of the price list nor a change of the contract's products alter its terms. `request_id` is the
    id of the order that the contract comes from, or null; it is unique, so that no order creates two contracts.
    """

    __tablename__ = "contracts"

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True)
    account_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"), index=True)
    request_id: Mapped[uuid.UUID | None] = mapped_column(sa.ForeignKey("requests.id"), unique=True)
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]

    items: Mapped[list[ContractItem]] = relationship(lazy="raise_on_sql", order_by="ContractItem.product_key")

    __table_args__ = (sa.CheckConstraint("ended_at > started_at", name="ends_after_start"), *term_checks())

    def earliest_end(self, noticed_on: date) -> date:
        """Return the earliest last day of the contract in Berlin, if the notice arrives on the day `noticed_on`."""
        return earliest_end(berlin_day(self.started_at), self.terms, noticed_on)

    def end(self, now: datetime) -> None:
        """End the contract, and with it all billing. Safe to run twice: the first end time is kept."""
        self.ended_at = self.ended_at or max(now, self.started_at + timedelta(microseconds=1))


class ContractItem(Base):
    """One product of a contract, with the agreed prices in net euro cents; later price list changes do not apply.

    `started_at` is null if the product was part of the contract from its beginning, otherwise the time at which it was
    added; `ended_at` is set if it was removed before the contract ended. If a product is added again, it gets another
    row with the next `occurrence` (1 for the first), so the rows show what ran on any day.

    `block_id` is the number block that was added later and that this row pays for. Null for other products, and for the
    blocks with which the contract began: these share one row per block size.
    """

    __tablename__ = "contract_items"

    contract_id: Mapped[int] = mapped_column(sa.ForeignKey("contracts.id"), primary_key=True)
    product_key: Mapped[str] = mapped_column(sa.ForeignKey("products.key"), primary_key=True)
    occurrence: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, default=1, server_default="1")
    monthly_cents: Mapped[int]
    one_off_cents: Mapped[int]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    # The blocks stand above the contracts.
    block_id: Mapped[int | None] = mapped_column(sa.ForeignKey("number_blocks.id"))

    __table_args__ = (
        sa.CheckConstraint("monthly_cents >= 0 AND one_off_cents >= 0", name="prices"),
        sa.CheckConstraint("ended_at >= started_at", name="ends_after_start"),
        sa.CheckConstraint("occurrence > 0", name="occurrence"),
    )

    @property
    def price_line(self) -> PriceLine:
        """Return the product's key with its agreed prices."""
        return PriceLine(self.product_key, self.monthly_cents, self.one_off_cents)


def new_contract(
    account_id: int,
    lines: Iterable[PriceLine],
    started_at: datetime,
    request_id: uuid.UUID | None = None,
    terms: ContractTerms = OPEN_TERMS,
) -> Contract:
    """Build a contract for the products at their agreed prices; the caller adds the contract to a session.

    `request_id` is the order that the contract comes from, None without an order. `terms` say how long it binds.
    """
    items = [ContractItem(**asdict(line)) for line in lines]
    facts = {"account_id": account_id, "request_id": request_id, "started_at": started_at, **asdict(terms)}
    return Contract(**facts, items=items)


def runs(
    what: type[Contract] | type[ContractItem], now: datetime | sa.ColumnElement[datetime]
) -> sa.ColumnElement[bool]:
    """Return an SQL condition: the row of `what`, contracts or contract items, has not ended at the time `now`.

    An item must also have begun. For an item the condition looks only at the item's own times, not at those of its
    contract.
    """
    not_ended = sa.or_(what.ended_at.is_(None), what.ended_at > now)
    if what is Contract:
        return not_ended
    return sa.and_(not_ended, sa.or_(ContractItem.started_at.is_(None), ContractItem.started_at <= now))


def has_product(session: Session, account_id: int, product_key: str, now: datetime) -> bool:
    """Return whether the account has the product at `now`: neither its contract nor the contract item has ended."""
    item = (
        sa.select(ContractItem.contract_id)
        .join(Contract, Contract.id == ContractItem.contract_id)
        .where(
            Contract.account_id == account_id,
            ContractItem.product_key == product_key,
            runs(Contract, now),
            runs(ContractItem, now),
        )
    )
    return session.scalar(item.limit(1)) is not None
