"""The back office's search for accounts, people and phone numbers of all customers, by parts of words or numbers.

Accounts are found by customer number, name, address and contact, people by name and e-mail address.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.orm import Session
from sqlalchemy.sql.visitors import replacement_traverse

from models.accounts.accounts import Account, account_text
from models.db.word_search import MOST_WORDS, has_word
from models.people.rights import Role
from models.people.users import Membership, User, user_text
from models.telephony.number_search import found_by, parts_of
from models.telephony.numbers import NumberBlock
from models.values import typed_customer_number

LEAST = 3
"""The smallest number of characters that is searched for: fewer occur in nearly every text."""
_LEAST_DIGITS = 4
_SORTED = 500
"""How many hits are sorted: a word that nearly all texts have must not cost the reading of the whole table."""
_NUMBER = re.compile(r"[0-9+()/. -]+")


@dataclass(frozen=True, slots=True)
class FoundAccount:
    """An account that the search has found, with its main account; `main` is None if it has none."""

    account: Account
    main: Account | None


@dataclass(frozen=True, slots=True)
class FoundPerson:
    """A user whom the search has found, with their roles: pairs of an account and the user's role in it."""

    user: User
    roles: Sequence[tuple[Account, Role]]


@dataclass(frozen=True, slots=True)
class FoundNumbers:
    """A number block that the search has found, with the account that has it."""

    block: NumberBlock
    account: Account


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The results of a search. `more`: at least one of the three lists was cut off at the limit."""

    accounts: Sequence[FoundAccount]
    people: Sequence[FoundPerson]
    numbers: Sequence[FoundNumbers]
    more: bool

    @property
    def is_empty(self) -> bool:
        """Return whether nothing was found."""
        return not (self.accounts or self.people or self.numbers)


def search(session: Session, typed: str, limit: int = 20) -> SearchResult:
    """Return the accounts, people and phone numbers, of all customers, that match `typed`, at most `limit` of each.

    Each word must occur in an account's customer number, name, address or contact (name, e-mail address, phone number),
    or in a user's name or e-mail address. A number is searched for in accounts and, from four digits on, among phone
    numbers, in any usual spelling, but not in people. A text of less than `LEAST` (3) characters finds nothing. Runs a
    fixed number of statements.
    """
    if len(typed) < LEAST:
        return SearchResult([], [], [], more=False)
    is_number = _NUMBER.fullmatch(typed) is not None and re.search("[0-9]", typed) is not None
    accounts = _accounts(session, typed, limit + 1, is_number=is_number)
    people = [] if is_number else _people(session, typed, limit + 1)
    has_digits = is_number and len(re.sub("[^0-9]", "", typed)) >= _LEAST_DIGITS
    numbers = _numbers(session, typed, limit + 1) if has_digits else []
    more = any(len(found) > limit for found in (accounts, people, numbers))
    return SearchResult(accounts[:limit], people[:limit], numbers[:limit], more)


def _accounts(session: Session, typed: str, limit: int, *, is_number: bool) -> list[FoundAccount]:
    main = sa.orm.aliased(Account)
    text = account_text()
    if is_number:
        ways = {part.digits for part in parts_of(typed)} | {typed_customer_number(typed) or ""}
        where = sa.or_(*(has_word(text, digits) for digits in sorted(ways) if digits))
    else:
        where = sa.and_(*(has_word(text, word) for word in typed.split()[:MOST_WORDS]))
    some = _unhindered(sa.select(Account.id, Account.main_id, Account.customer_number).where(where).limit(_SORTED))
    hits = some.subquery()
    first = sa.select(hits.c.id).order_by(hits.c.main_id.is_not(None), hits.c.customer_number).limit(limit).subquery()
    query = sa.select(Account, main).join(first, first.c.id == Account.id).outerjoin(main, main.id == Account.main_id)
    found = query.order_by(Account.main_id.is_not(None), Account.customer_number)
    return [FoundAccount(account, above) for account, above in session.execute(found)]


def _people(session: Session, typed: str, limit: int) -> list[FoundPerson]:
    words = (has_word(user_text(), word) for word in typed.split()[:MOST_WORDS])
    hits = _unhindered(sa.select(User.id, User.name).where(*words).limit(_SORTED)).subquery()
    first = sa.select(hits.c.id).order_by(hits.c.name, hits.c.id).limit(limit).subquery()
    query = sa.select(User).join(first, first.c.id == User.id).order_by(User.name, User.id)
    users = session.scalars(query).all()
    roles: dict[int, list[tuple[Account, Role]]] = defaultdict(list)
    for membership, account in session.execute(
        sa.select(Membership, Account)
        .join(Account, Account.id == Membership.account_id)
        .where(Membership.user_id.in_([user.id for user in users]))
        .order_by(Account.customer_number)
    ):
        roles[membership.user_id].append((account, membership.role))
    return [FoundPerson(user, roles[user.id]) for user in users]


def _numbers(session: Session, typed: str, limit: int) -> list[FoundNumbers]:
    hits = sa.select(NumberBlock.id).where(NumberBlock.account_id.is_not(None), found_by(typed)).limit(limit)
    found_ids = _unhindered(hits).subquery()
    query = (
        sa.select(NumberBlock, Account)
        .join(found_ids, found_ids.c.id == NumberBlock.id)
        .join(Account, Account.id == NumberBlock.account_id)
    )
    found = [FoundNumbers(block, account) for block, account in session.execute(query)]
    return sorted(found, key=lambda one: one.block.first_number)


def _unhindered(query: sa.Select[*tuple[Any, ...]]) -> sa.Select[*tuple[Any, ...]]:
    """Return the query changed to read from the view `…_of_staff` of its table, which shows rows only to staff.

    On the table itself PostgreSQL would read every row instead of using the index. It checks row-level security before
    conditions that it does not know to be leakproof, such as searches in texts and ranges.
    """
    views = {
        mapped.__table__: sa.table(
            f"{mapped.__tablename__}_of_staff", *(sa.column(one.name, one.type) for one in mapped.__table__.columns)
        )
        for mapped in (Account, User, NumberBlock)
    }

    def on_view(element: Any, **_: Any) -> Any:
        if isinstance(element, sa.Column) and element.table in views:
            return views[element.table].c[element.name]
        return views.get(element) if isinstance(element, sa.Table) else None

    return cast("sa.Select[*tuple[Any, ...]]", replacement_traverse(query, {}, on_view))
