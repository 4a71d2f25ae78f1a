"""Carrying out a move: at the moment of the move one transaction changes the account's address and its numbers.

Emergency calls are routed by the address. The registrar gets address and numbers of a trunk in one transaction, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence, Set
from dataclasses import asdict
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.accounts.locks import lock_accounts
from models.changes.cancellations import running_lines
from models.changes.changes import ensure_asked_from_within
from models.changes.moved_numbers import divided_blocks, lost_forwardings, place_of
from models.changes.replaced_blocks import replace_block
from models.errors import AreaCodeRefused, NoNumbersAvailable, RuleBroken
from models.orders.area_code_of_address import area_code_text, area_codes_for
from models.people.audit_log import AuditEvent
from models.people.users import principal_of
from models.requests.moved_blocks import moved_blocks_of
from models.requests.requests import Request
from models.states import AccountState, Reason
from models.telephony.directory import entry_of
from models.telephony.forwarding import CallForwarding
from models.telephony.forwarding_changes import remove_moved
from models.telephony.holdings import trunks_of
from models.telephony.number_history import renew_history
from models.telephony.number_pool import (
    NumberPool,
    free_reserved_block,
    set_aside_block,
)
from models.telephony.numbers import NumberBlock
from models.telephony.trunks import SipTrunk, TrunkState


def ensure_movable(session: Session, request: Request) -> list[str]:
    """Return the area codes that the account's numbers will have after the move.

    Raises `RuleBroken` if the account is not active or has no open trunk, or if the address is not proved yet and the
    account has left the main account through which the move was asked for. Raises `AreaCodeRefused` if a block
    cannot stay that was not among those to be replaced when the move was asked for.
    """
    account = request.account
    assert account is not None
    if account.state is not AccountState.ACTIVE:
        raise RuleBroken(Reason.ACCOUNT_CLOSED)
    if request.address_proved_at is None:
        ensure_asked_from_within(session, request, AuditEvent.MOVE_ASKED)
    if not trunks_of(session, account):
        raise RuleBroken(Reason.TRUNK_CLOSED)
    stays, goes = divided_blocks(session, account, request.place)
    said = {one.block_id for one in moved_blocks_of(session, request)}
    if any(block.id not in said for block in goes):
        place = request.place
        raise AreaCodeRefused([area_code_text(area) for area in area_codes_for(session, place.postal_code, place.city)])
    codes = {block.area_code for block in stays if block.id not in said}
    return sorted(codes | ({request.area_code} if request.area_code is not None else set()))


def make_move(session: Session, request: Request, now: datetime) -> Sequence[CallForwarding]:
    """Carry out a move: the account gets the new address, and its trunks the new numbers, in the present transaction.

    The blocks that go return to the pool after their quarantine; each reserved block takes the place of one on its
    trunk and in the contract. Forwardings and a directory entry for numbers of a block go over to the numbers with the
    same last digits; a forwarding whose numbers are not all of one block is deleted, which the audit log has, and
    returned. The history of numbers gets the
    new address, and a registrar update of each trunk is scheduled. A block that the account has given back meanwhile is
    not replaced. Adds timeline entries. Safe to run twice. Locks account, trunks and blocks. Raises `RuleBroken` if the
    account is not active or has no open trunk.
    """
    assert request.account_id is not None
    lock_accounts(session, [request.account_id])
    account = session.get_one(Account, request.account_id)
    ensure_movable(session, request)
    trunks = _locked_trunks(session, account)
    place = request.place
    request.replaced_place = asdict(place_of(account))
    lines = [asdict(line) for line in running_lines(session, account, now)]
    request.replaced_lines = request.price_lines = lines
    account.street, account.postal_code, account.city = place.street, place.postal_code, place.city
    # The history of numbers, written below, takes the address from the database.
    session.flush()
    moved = [one for one in moved_blocks_of(session, request) if one.moved_at is None]
    blocks = _locked_blocks(session, {id for one in moved for id in (one.block_id, one.replacement_id) if id})
    going = [block for one in moved if (block := blocks[one.block_id]).account_id == account.id]
    lost = lost_forwardings(session, account, going)
    person = principal_of(session, request.requester) if request.requester is not None else None
    remove_moved(session, person, account, lost, now)
    for one in moved:
        assert one.replacement_id is not None
        goes, comes = blocks[one.block_id], blocks[one.replacement_id]
        if goes.account_id == account.id and goes.trunk_id is not None:
            replace_block(session, account, goes, comes, now)
            one.moved_at = now
            request.note(now, "numbers_replaced", before=goes.display, numbers=comes.display)
        else:
            free_reserved_block(comes, now)
            session.delete(one)
    entry = entry_of(session, account)
    if entry is not None and entry.withdrawn_at is None:
        # It may show the address.
        entry.changed_at = now
    session.flush()
    renew_history(session, account.id, now)
    for trunk in trunks:
        trunk.changed(now)
    session.flush()
    return lost


def replace_refused(session: Session, request: Request, taken: Set[str], now: datetime) -> list[NumberBlock]:
    """Give the account of a move other blocks for new ones that have a number in `taken`, and return the refused ones.

    `taken` are numbers, with the plus sign, that the registrar lists under another trunk. The refused blocks are set
    aside, as those of an order are, and the account's trunks are written again. Blocks that the account had before the
    move stay, and so does one for which the pool has no other: staff are told of those. Locks account, trunks and
    blocks.
    """
    assert request.account_id is not None
    lock_accounts(session, [request.account_id])
    account = session.get_one(Account, request.account_id)
    trunks = _locked_trunks(session, account)
    moved = {one.replacement_id: one for one in moved_blocks_of(session, request) if one.moved_at is not None}
    new = _locked_blocks(session, {id for id in moved if id is not None}).values()
    hit = [block for block in new if block.account_id == account.id and not taken.isdisjoint(block.numbers)]
    pool = NumberPool(session, now, Counter((block.area_code, block.size) for block in hit))
    refused = []
    for block in hit:
        try:
            other = pool.reserve(block.area_code, block.size)
        except NoNumbersAvailable:
            continue
        replace_block(session, account, block, other, now, set_aside_block)
        moved[block.id].replacement_id = other.id
        request.note(now, "numbers_replaced", before=block.display, numbers=other.display)
        refused.append(block)
    if refused:
        session.flush()
        for trunk in trunks:
            trunk.changed(now)
    return refused


def _locked_trunks(session: Session, account: Account) -> Sequence[SipTrunk]:
    """Lock the account's trunks, so that no worker reads one for the registrar while its numbers change."""
    query = sa.select(SipTrunk).where(SipTrunk.account_id == account.id, SipTrunk.state != TrunkState.CLOSED)
    return session.scalars(query.order_by(SipTrunk.id).with_for_update()).all()


def _locked_blocks(session: Session, ids: Collection[int]) -> dict[int, NumberBlock]:
    query = sa.select(NumberBlock).where(NumberBlock.id.in_(ids)).order_by(NumberBlock.id)
    locking = query.with_for_update(key_share=True).execution_options(populate_existing=True)
    return {block.id: block for block in session.scalars(locking)}
