"""The contracts, trunks and numbers of one account, read with a fixed number of SQL statements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.contracts.catalogue import Product
from models.contracts.contracts import Contract, ContractItem, runs
from models.telephony.numbers import NumberBlock
from models.telephony.trunks import SipTrunk, TrunkState


@dataclass(frozen=True, slots=True)
class Holdings:
    """What one account has at a time: running contract lines with their products, open trunks, and number blocks.

    Open trunks are those that are not closed; they may be suspended.
    """

    items: Sequence[tuple[ContractItem, Product]]
    trunks: Sequence[SipTrunk]
    blocks: Sequence[NumberBlock]

    @property
    def monthly_cents(self) -> int:
        """Return the sum of the monthly net prices of the contract lines, in cents."""
        return sum(item.monthly_cents for item, _ in self.items)


def holdings_of(session: Session, account: Account, now: datetime) -> Holdings:
    """Return the account's contract lines that run at `now`, its trunks that are not closed, and its number blocks."""
    items = (
        sa.select(ContractItem, Product)
        .join(Product, Product.key == ContractItem.product_key)
        .join(Contract, Contract.id == ContractItem.contract_id)
        .where(Contract.account_id == account.id, runs(Contract, now), runs(ContractItem, now))
        .order_by(Contract.id, Product.position)
    )
    return Holdings(
        [(item, product) for item, product in session.execute(items)],
        trunks_of(session, account),
        blocks_of(session, account),
    )


def trunks_of(session: Session, account: Account) -> list[SipTrunk]:
    """Return the account's trunks that are not closed, in the order of their ids."""
    trunks = sa.select(SipTrunk).where(SipTrunk.account_id == account.id, SipTrunk.state != TrunkState.CLOSED)
    return list(session.scalars(trunks.order_by(SipTrunk.id)))


def blocks_of(session: Session, account: Account) -> list[NumberBlock]:
    """Return the account's number blocks, in the order of their numbers."""
    blocks = sa.select(NumberBlock).where(NumberBlock.account_id == account.id)
    return list(session.scalars(blocks.order_by(NumberBlock.first_number)))
