"""Contracts: what an account is billed for, at the prices of the day it was ordered."""

from __future__ import annotations

import uuid
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from models.base import Base


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


class ContractItem(Base):
    """One line of a contract; prices in net euro cents as agreed, whatever the price list says later."""

    __tablename__ = "contract_items"

    contract_id: Mapped[int] = mapped_column(sa.ForeignKey("contracts.id"), primary_key=True)
    product_key: Mapped[str] = mapped_column(sa.ForeignKey("products.key"), primary_key=True)
    monthly_cents: Mapped[int]
    one_off_cents: Mapped[int]

    __table_args__ = (sa.CheckConstraint("monthly_cents >= 0 AND one_off_cents >= 0", name="prices"),)
