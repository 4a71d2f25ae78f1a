"""Lists of the numbers, trunks and contracts of a main account and its sub-accounts, with a search, page by page.

The lists do not say whether a trunk is registered: the portal asks the telephone network. All lists are sorted by
customer number, so that a page costs the same whatever the number of accounts.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.contracts.catalogue import Product
from models.contracts.contracts import Contract, ContractItem, runs
from models.db.paging import BadCursor, Page, read_cursor, write_cursor
from models.db.word_search import matching
from models.telephony.number_search import found_by, is_everywhere
from models.telephony.numbers import NumberBlock
from models.telephony.trunks import SipTrunk, TrunkState
from models.values import CUSTOMER_NUMBER

FEW = 2000
"""The most matching number blocks of all customers that a search for digits looks up before it filters by account.

If more blocks match, the search compares the digits only with the blocks of the listed accounts.
"""

_Query = sa.Select[*tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class ListedNumbers:
    """A row of the list of numbers: a block, its account, and the SIP user of the trunk that gets the calls.

    `sip_user` is None for a block without a trunk.
    """

    account: Account
    block: NumberBlock
    sip_user: str | None


@dataclass(frozen=True, slots=True)
class ListedTrunk:
    """A row of the list of trunks: a trunk and its account."""

    account: Account
    trunk: SipTrunk


@dataclass(frozen=True, slots=True)
class ListedContract:
    """A row of the list of contracts: a contract, its account, and its running lines, each with its product."""

    account: Account
    contract: Contract
    items: Sequence[tuple[ContractItem, Product]]

    @property
    def monthly_cents(self) -> int:
        """Return the sum of the monthly net prices of the contract's lines, in cents."""
        return sum(item.monthly_cents for item, _ in self.items)


def numbers_of(
    session: Session, main: Account, search: str = "", *, after: str | None = None, limit: int = 50
) -> Page[ListedNumbers]:
    """Return a page of the number blocks of `main` and its sub-accounts, sorted by customer number, then by number.

    `search` is split into words. Those without letters, such as "030 12", are together a phone number or a part of one,
    which must occur in a number of the block. Each word with letters must occur in the account's customer number, name,
    street or city. `after` is the cursor from the page before (None: first page), `limit` the page size. Runs two
    statements at most. Raises `BadCursor` if `after` is no cursor of this list.
    """
    words, typed = _split(search)
    query: _Query = (
        sa.select(Account, NumberBlock, SipTrunk.sip_user)
        .join(NumberBlock, NumberBlock.account_id == Account.id)
        .outerjoin(SipTrunk, SipTrunk.id == NumberBlock.trunk_id)
    )
    if typed:
        few = _few_hits(session, typed) if not is_everywhere(typed) else None
        query = query.where(NumberBlock.id.in_(few) if few is not None else found_by(typed))
    rows, following = _page(session, _narrowed(query, main, words), NumberBlock.first_number, after, limit)
    return Page(
        [ListedNumbers(row.Account, row.NumberBlock, row.sip_user) for row in rows],
        following(lambda row: row.NumberBlock.first_number),
    )


def trunks_of(
    session: Session, main: Account, search: str = "", *, after: str | None = None, limit: int = 50
) -> Page[ListedTrunk]:
    """Return a page of the trunks, except closed ones, of the main account `main` and its sub-accounts.

    They are sorted by customer number, then by trunk id. Each word of `search` must occur in the account's customer
    number, name, street or city, or in the trunk's SIP user or domain. `after` is the cursor from the page before
    (None: first page), `limit` the page size. Runs one statement. Raises `BadCursor` if `after` is no cursor of this
    list.
    """
    query: _Query = (
        sa.select(Account, SipTrunk)
        .join(SipTrunk, SipTrunk.account_id == Account.id)
        .where(SipTrunk.state != TrunkState.CLOSED)
    )
    query = _narrowed(query, main, search.split(), SipTrunk.sip_user, SipTrunk.domain)
    rows, following = _page(session, query, SipTrunk.id, after, limit)
    return Page([ListedTrunk(row.Account, row.SipTrunk) for row in rows], following(lambda row: row.SipTrunk.id))


def contracts_of(
    session: Session, main: Account, now: datetime, search: str = "", *, after: str | None = None, limit: int = 50
) -> Page[ListedContract]:
    """Return a page of those contracts of the main account `main` and its sub-accounts that run at `now`.

    They are sorted by customer number, then by contract id. Each word of `search` must occur in the account's customer
    number, name, street or city, or in a product's name. `after` is the cursor from the page before (None: first page),
    `limit` the page size. Runs two statements. Raises `BadCursor` if `after` is no cursor of this list.
    """
    products = (
        sa.select(sa.func.string_agg(sa.func.concat_ws(" ", Product.name_de, Product.name_en), " "))
        .select_from(ContractItem)
        .join(Product, Product.key == ContractItem.product_key)
        .where(ContractItem.contract_id == Contract.id, runs(ContractItem, now))
        .scalar_subquery()
    )
    query: _Query = (
        sa.select(Account, Contract).join(Contract, Contract.account_id == Account.id).where(runs(Contract, now))
    )
    rows, following = _page(session, _narrowed(query, main, search.split(), products), Contract.id, after, limit)
    items: dict[int, list[tuple[ContractItem, Product]]] = defaultdict(list)
    for item, product in session.execute(
        sa.select(ContractItem, Product)
        .join(Product, Product.key == ContractItem.product_key)
        .where(ContractItem.contract_id.in_([row.Contract.id for row in rows]), runs(ContractItem, now))
        .order_by(Product.position)
    ):
        items[item.contract_id].append((item, product))
    listed = [ListedContract(row.Account, row.Contract, items[row.Contract.id]) for row in rows]
    return Page(listed, following(lambda row: row.Contract.id))


def _split(search: str) -> tuple[list[str], str]:
    """Split a search into the words that have letters, and all other words as one typed number.

    The number is "" if those other words have no digit.
    """
    words = [word for word in search.split() if re.search(r"[^\W\d_]", word)]
    numbers = " ".join(word for word in search.split() if word not in words)
    return words, numbers if re.search("[0-9]", numbers) else ""


def _few_hits(session: Session, typed: str) -> list[int] | None:
    """Return the ids of the number blocks, of any customer, that match the typed digits; None if more than `FEW` match.

    `FEW` is 2,000. For more hits, the caller compares the digits only with the blocks of the listed accounts.
    """
    hits = sa.select(NumberBlock.id).where(NumberBlock.account_id.is_not(None), found_by(typed)).limit(FEW + 1)
    found = list(session.scalars(hits))
    return found if len(found) <= FEW else None


def _narrowed(query: _Query, main: Account, words: Sequence[str], *more: Any) -> _Query:
    query = query.where(sa.or_(Account.main_id == main.id, Account.id == main.id))
    return query.where(*matching(words, Account.customer_number, Account.name, Account.street, Account.city, *more))


def _page(
    session: Session, query: _Query, second: Any, after: str | None, limit: int
) -> tuple[Sequence[sa.Row[Any]], Callable[[Callable[[Any], int]], str | None]]:
    """Return one page of the query's rows, sorted by customer number and the column `second`, and a function.

    Rows begin after the cursor `after`. The returned function returns the cursor of the next page, None after the last
    page. It has one argument: a function that is given a row and returns the row's value of `second`. Raises
    `BadCursor` if `after` is no cursor of such a list.
    """
    key = sa.tuple_(Account.customer_number, second)
    if after is not None:
        number, place = read_cursor(after, str, int)
        if not CUSTOMER_NUMBER.fullmatch(number):
            raise BadCursor(after)
        query = query.where(key > sa.tuple_(sa.literal(number), sa.literal(place, sa.BigInteger)))
    rows = session.execute(query.order_by(Account.customer_number, second).limit(limit + 1)).all()
    last = rows[limit - 1] if len(rows) > limit else None

    def following(place_of: Callable[[Any], int]) -> str | None:
        return write_cursor(last.Account.customer_number, place_of(last)) if last is not None else None

    return rows[:limit], following
