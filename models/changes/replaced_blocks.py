"""Putting a number block in the place of another on a trunk, because of a move or because the registrar refuses it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.changes.moved_numbers import forwardings_of_block, is_inside
from models.contracts.contracts import Contract, ContractItem
from models.telephony.directory import entry_of
from models.telephony.number_pool import give_reserved_block, release_block
from models.telephony.numbers import NumberBlock


def replace_block(
    session: Session,
    account: Account,
    goes: NumberBlock,
    comes: NumberBlock,
    now: datetime,
    take_away: Callable[[NumberBlock, datetime], None] = release_block,
) -> None:
    """Give the block `comes` the place of `goes` on its trunk, in the contract, forwardings and the directory.

    `take_away` is what is done with `goes`: it is released, or set aside.
    """
    distance = comes.first_number - goes.first_number
    for forwarding in forwardings_of_block(session, account, goes):
        if is_inside(forwarding, goes) and forwarding.numbers is not None:
            first, last = forwarding.numbers
            forwarding.first_number, forwarding.last_number = first + distance, last + distance
    entry = entry_of(session, account)
    if entry is not None and entry.withdrawn_at is None and goes.first_number <= entry.number <= goes.last_number:
        entry.number += distance
        # Before the block is taken away, which withdraws an entry for one of its numbers.
        session.flush()
    lines = sa.select(ContractItem).join(Contract, Contract.id == ContractItem.contract_id)
    own = lines.where(Contract.account_id == account.id, ContractItem.block_id == goes.id)
    for item in session.scalars(own.order_by(ContractItem.product_key, ContractItem.occurrence)):
        item.block_id = comes.id
    trunk_id = goes.trunk_id
    assert trunk_id is not None
    take_away(goes, now)
    give_reserved_block(session, comes, account.id, trunk_id, now)
