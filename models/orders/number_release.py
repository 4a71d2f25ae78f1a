"""Releasing numbers: an account returns one of its number blocks to the pool, and the block's contract line ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.accounts.locks import lock_active_account
from models.contracts.catalogue import block_key
from models.contracts.contracts import Contract, ContractItem, runs
from models.errors import Forbidden, NotFound, StillOnOrder
from models.people.audit_log import AuditEvent, record
from models.people.rights import Action, Principal, may
from models.requests.requests import Request
from models.states import ENDED, Kind
from models.telephony.change_mails import tell_of_change
from models.telephony.forwarding import CallForwarding, forwardings_within
from models.telephony.forwarding_changes import remove_with_numbers
from models.telephony.number_pool import release_block
from models.telephony.numbers import NumberBlock
from models.telephony.trunks import SipTrunk, TrunkState


@dataclass(frozen=True, slots=True)
class Release:
    """The consequences of releasing the number block `block`.

    `item` is the contract line that ends, None if no line is for this block alone. `is_last`: the account has no other
    block. `forwardings` are the account's call forwardings to be deleted: those for a range that includes a number of
    the block.
    """

    block: NumberBlock
    item: ContractItem | None
    is_last: bool
    forwardings: Sequence[CallForwarding] = ()


def look_at_release(session: Session, person: Principal, account: Account, block_id: int, now: datetime) -> Release:
    """Return the consequences of releasing the account's number block `block_id`, without releasing it.

    Raises `Forbidden` if the person may not manage the account's trunks, `StillOnOrder` while an order for the account
    is running, and `NotFound` if the account has no block with this id.
    """
    if not may(person, Action.MANAGE_TRUNK, account):
        raise Forbidden
    # First, so that an account that is not in service yet says the same whatever block is asked for.
    if order_runs(session, account):
        raise StillOnOrder
    block = session.scalar(sa.select(NumberBlock).where(NumberBlock.id == block_id, _is_of(account)))
    if block is None:
        raise NotFound
    others = sa.select(NumberBlock.id).where(_is_of(account), NumberBlock.id != block.id).limit(1)
    forwardings = forwardings_within(session, account, (block.first_number, block.last_number))
    return Release(block, _item_of(session, block, now), session.scalar(others) is None, forwardings)


def release_numbers(session: Session, person: Principal, account: Account, block_id: int, now: datetime) -> None:
    """Release the account's number block `block_id`: its numbers stop ringing and are no longer billed.

    The account's call forwardings for ranges with numbers of the block are deleted, including those that reach beyond
    it. The block returns to the pool after its quarantine (90 days). Locks the account, records the release in its log,
    schedules a registrar update, and queues a mail to the administrators.

    Raises `Forbidden` if the account is not active or the person may not manage its trunks, `StillOnOrder` while an
    order for the account is running, and `NotFound` if the account has no block with this id, for example because the
    block was released already.
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
    remove_with_numbers(session, person, account, found.forwardings, now)
    release_block(block, now)
    tell_of_change(session, person, account, Action.MANAGE_TRUNK, "numbers_released", block.display, now)


def order_runs(session: Session, account: Account) -> bool:
    """Return whether an order for the account is running; no block of the account can be released until it ends."""
    order = sa.select(Request.id).where(
        Request.account_id == account.id, Request.kind == Kind.ORDER, Request.status.not_in(ENDED)
    )
    return session.scalar(order.limit(1)) is not None


def _is_of(account: Account) -> sa.ColumnElement[bool]:
    return NumberBlock.account_id == account.id


def _item_of(session: Session, block: NumberBlock, now: datetime) -> ContractItem | None:
    """Return the running contract line that is for this block alone; None if there is none.

    A block that was added later has a line of its own. The blocks with which the contract began share one line for each
    size, which is returned only if this is the last of them.
    """
    trunk = session.get(SipTrunk, block.trunk_id) if block.trunk_id is not None else None
    if trunk is None:
        return None
    lines = (
        sa.select(ContractItem)
        .join(Contract, Contract.id == ContractItem.contract_id)
        .where(
            ContractItem.contract_id == trunk.contract_id,
            ContractItem.product_key == block_key(block.size),
            runs(Contract, now),
            runs(ContractItem, now),
        )
    )
    own = session.scalar(lines.where(ContractItem.block_id == block.id))
    if own is not None:
        return own
    has_own_line = sa.exists().where(
        ContractItem.contract_id == trunk.contract_id,
        ContractItem.block_id == NumberBlock.id,
        runs(ContractItem, now),
    )
    others = (
        sa.select(NumberBlock.id)
        .join(SipTrunk, SipTrunk.id == NumberBlock.trunk_id)
        .where(
            SipTrunk.contract_id == trunk.contract_id,
            NumberBlock.size == block.size,
            NumberBlock.id != block.id,
            ~has_own_line,
        )
    )
    if session.scalar(others.limit(1)) is not None:
        return None
    return session.scalar(lines.where(ContractItem.block_id.is_(None)))
