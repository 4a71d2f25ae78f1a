"""Contracts: what an account is billed for, at the prices of the day it was ordered."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models.contracts.catalogue import Product
from models.db.base import Base


class Contract(Base):
    """One contract of an account. `request_id` is unique: one order never makes two contracts."""

    __tablename__ = "contracts"

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True)
    account_id: Mapped[int] = mapped_column(sa.ForeignKey("accounts.id"), index=True)
    request_id: Mapped[uuid.UUID | None] = mapped_column(sa.ForeignKey("requests.id"), unique=True)
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]

    items: Mapped[list[ContractItem]] = relationship(lazy="raise_on_sql", order_by="ContractItem.product_key")

    __table_args__ = (sa.CheckConstraint("ended_at > started_at", name="ends_after_start"),)

    def end(self, now: datetime) -> None:
        """Nothing is billed any more. Safe to run twice: the first time counts."""
        self.ended_at = self.ended_at or max(now, self.started_at + timedelta(microseconds=1))


class ContractItem(Base):
    """One line of a contract; prices in net euro cents as agreed, whatever the price list says later.

    `ended_at`: what it is for was given back before the contract ends.
    """

    __tablename__ = "contract_items"

    contract_id: Mapped[int] = mapped_column(sa.ForeignKey("contracts.id"), primary_key=True)
    product_key: Mapped[str] = mapped_column(sa.ForeignKey("products.key"), primary_key=True)
    monthly_cents: Mapped[int]
    one_off_cents: Mapped[int]
    ended_at: Mapped[datetime | None]

    __table_args__ = (sa.CheckConstraint("monthly_cents >= 0 AND one_off_cents >= 0", name="prices"),)


def new_contract(
    account_id: int, products: Iterable[Product], started_at: datetime, request_id: uuid.UUID | None = None
) -> Contract:
    """Make a contract for these products at the prices of now; `request_id` is the order that it comes from."""
    items = [
        ContractItem(product_key=product.key, monthly_cents=product.monthly_cents, one_off_cents=product.one_off_cents)
        for product in products
    ]
    return Contract(account_id=account_id, request_id=request_id, started_at=started_at, items=items)


def runs(what: type[Contract] | type[ContractItem], now: datetime) -> sa.ColumnElement[bool]:
    """Whether it is billed at this moment."""
    return sa.or_(what.ended_at.is_(None), what.ended_at > now)
