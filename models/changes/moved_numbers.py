"""What a move does to the numbers of an account: which blocks stay and go, and the forwardings that depend on them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.orders.area_code_of_address import Certainty, certainty_of
from models.requests.contract_requests import owner_of_contracts
from models.same_address import Place
from models.telephony.forwarding import CallForwarding, forwardings_within
from models.telephony.numbers import NumberBlock


def place_of(account: Account) -> Place:
    """Return the account's present connection address."""
    return Place(account.street, account.postal_code, account.city)


def divided_blocks(session: Session, account: Account, place: Place) -> tuple[list[NumberBlock], list[NumberBlock]]:
    """Return the blocks of the account's trunks that can stay at the address, and those that cannot."""
    query = sa.select(NumberBlock).where(NumberBlock.account_id == account.id, NumberBlock.trunk_id.is_not(None))
    blocks = session.scalars(query.order_by(NumberBlock.first_number)).all()
    outside = {
        code
        for code in {block.area_code for block in blocks}
        if certainty_of(session, place.postal_code, place.city, code) is Certainty.IMPOSSIBLE
    }
    stays = [block for block in blocks if block.area_code not in outside]
    return stays, [block for block in blocks if block.area_code in outside]


def forwardings_of_block(session: Session, account: Account, block: NumberBlock) -> Sequence[CallForwarding]:
    """Return the account's forwardings of numbers of the block, also if they are of other numbers, too."""
    return forwardings_within(session, account, (block.first_number, block.last_number))


def is_inside(forwarding: CallForwarding, block: NumberBlock) -> bool:
    """Return whether all numbers of the forwarding are of the block."""
    first, last = forwarding.numbers or (0, 0)
    return block.first_number <= first and last <= block.last_number


def lost_forwardings(session: Session, account: Account, goes: Collection[NumberBlock]) -> list[CallForwarding]:
    """Return the forwardings that lose numbers of the blocks `goes`, and whose numbers are not all of one block."""
    found = {
        one.id: one
        for block in goes
        for one in forwardings_of_block(session, account, block)
        if not is_inside(one, block)
    }
    return list(found.values())


def forwardings_to(
    session: Session, account: Account, blocks: Collection[NumberBlock]
) -> Sequence[tuple[Account, CallForwarding]]:
    """Return the forwardings to numbers of the blocks, with their accounts: the account and others of its company.

    Sorted by customer number. They include those of accounts that the people of this account may not see.
    """
    if not blocks:
        return []
    company = owner_of_contracts(account)
    target = sa.cast(sa.func.substr(CallForwarding.target, 2), sa.BigInteger)
    within = [target.between(block.first_number, block.last_number) for block in blocks]
    query = (
        sa.select(Account, CallForwarding)
        .join(Account, Account.id == CallForwarding.account_id)
        .where(sa.or_(Account.id == company, Account.main_id == company), sa.or_(*within))
        .order_by(Account.customer_number, CallForwarding.id)
    )
    return [(own, one) for own, one in session.execute(query)]
