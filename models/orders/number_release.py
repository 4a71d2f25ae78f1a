"""Releasing numbers: giving one block of an account back to the pool. The contract line of the block ends too."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.contracts.catalogue import block_key
from models.contracts.contracts import Contract, ContractItem, runs
from models.errors import Forbidden, NotFound, StillOnOrder
from models.people.audit_log import AuditEvent, record
from models.people.rights import Action, Principal, may
from models.requests.requests import Request
from models.states import ENDED, Kind
from models.telephony.number_pool import release_block
from models.telephony.numbers import NumberBlock
from models.telephony.suspension import lock_active_account
from models.telephony.trunks import SipTrunk, TrunkState


@dataclass(frozen=True, slots=True)
class Release:
    """What releasing a block ends: its contract line, if there is one, and whether the account keeps no number."""

    block: NumberBlock
    item: ContractItem | None
    is_last: bool


def look_at_release(session: Session, person: Principal, account: Account, block_id: int, now: datetime) -> Release:
    """Return what releasing this block would end. Raises `Forbidden`, `NotFound` or `StillOnOrder`."""
    if not may(person, Action.MANAGE_TRUNK, account):
        raise Forbidden
    # First, so that an account that is not in service yet says the same whatever block is asked for.
    if order_runs(session, account):
        raise StillOnOrder
    block = session.scalar(sa.select(NumberBlock).where(NumberBlock.id == block_id, _is_of(account)))
    if block is None:
        raise NotFound
    others = sa.select(NumberBlock.id).where(_is_of(account), NumberBlock.id != block.id).limit(1)
    return Release(block, _item_of(session, block, now), session.scalar(others) is None)


def release_numbers(session: Session, person: Principal, account: Account, block_id: int, now: datetime) -> None:
    """Release the block: its numbers stop ringing, rest for the quarantine, and are not billed any more.

    Raises `Forbidden`, `StillOnOrder`, or `NotFound` if the block was released already.
    """
    lock_active_account(session, account)
    found = look_at_release(session, person, account, block_id, now)
    block = found.block
    if block.trunk_id is not None:
        trunk = session.get_one(SipTrunk, block.trunk_id, with_for_update=True)
        if trunk.state is not TrunkState.CLOSED:
            trunk.changed(now)
    if found.item is not None:
        found.item.ended_at = now
    record(session, person, account, AuditEvent.NUMBERS_RELEASED, Action.MANAGE_TRUNK, now, {"numbers": block.display})
    release_block(block, now)


def order_runs(session: Session, account: Account) -> bool:
    """Return whether an order for the account is still running; until its end no block of the account is released."""
    order = sa.select(Request.id).where(
        Request.account_id == account.id, Request.kind == Kind.ORDER, Request.status.not_in(ENDED)
    )
    return session.scalar(order.limit(1)) is not None


def _is_of(account: Account) -> sa.ColumnElement[bool]:
    return NumberBlock.account_id == account.id


def _item_of(session: Session, block: NumberBlock, now: datetime) -> ContractItem | None:
    """Return the contract line of this block alone: a contract has one line for each block size."""
    trunk = session.get(SipTrunk, block.trunk_id) if block.trunk_id is not None else None
    if trunk is None:
        return None
    others = (
        sa.select(NumberBlock.id)
        .join(SipTrunk, SipTrunk.id == NumberBlock.trunk_id)
        .where(SipTrunk.contract_id == trunk.contract_id, NumberBlock.size == block.size, NumberBlock.id != block.id)
    )
    if session.scalar(others.limit(1)) is not None:
        return None
    return session.scalar(
        sa.select(ContractItem)
        .join(Contract, Contract.id == ContractItem.contract_id)
        .where(
            ContractItem.contract_id == trunk.contract_id,
            ContractItem.product_key == block_key(block.size),
            runs(Contract, now),
            runs(ContractItem, now),
        )
    )
