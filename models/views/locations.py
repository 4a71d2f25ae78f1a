"""The overview of a main account: its accounts searched, filtered, sorted and read page by page.

The list has two disjoint halves: sub-accounts without a running request, and accounts with one, whether sub-account
already or not. Each half is one index range in the order of the list, so that the cost of a page does not depend on
the number of accounts, and the number of statements is fixed.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session, joinedload

from models.accounts.accounts import Account
from models.db.paging import Page, read_cursor, write_cursor
from models.db.text import matching, plain_sql, spelled_sql
from models.people.rights import Principal
from models.requests.requests import Request, concerns
from models.states import ENDED, Kind, Origin, Status
from models.values import fold, spell

MOST_CITIES = 100
MOST_LINKS = 12


class Show(StrEnum):
    """The filters of the overview by an account's running request; `ACTIVE` accounts have none.

    `NEW` accounts have an order that is running, `WAITING` ones a pending request, `RUNNING` ones a running request
    that is not pending. An account with a pending order is both new and waiting.
    """

    NEW = "new"
    RUNNING = "running"
    WAITING = "waiting"
    ACTIVE = "active"


class Order(StrEnum):
    """The sort orders of the overview's list. `NEWEST` is by the running request's creation, else by attachment."""

    NEWEST = "newest"
    NAME = "name"
    CITY = "city"
    NUMBER = "number"


@dataclass(frozen=True, slots=True)
class LocationFilter:
    """The filters and the sort order of the overview's list; None and "" filter nothing.

    `search` is words that must each be part of the account's customer number, name, contact or address; `city` is the
    beginning of a city's name.
    """

    search: str = ""
    show: Show | None = None
    origin: Origin | None = None
    city: str = ""
    order: Order = Order.NEWEST

    @property
    def is_narrowed(self) -> bool:
        """Return whether any filter is set."""
        return bool(self.search or self.show or self.origin or self.city)


@dataclass(frozen=True, slots=True)
class ListedAccount:
    """A row of the overview's list: an account with its newest running request, None if none is running."""

    account: Account
    request: Request | None

    @property
    def is_new(self) -> bool:
        """Return whether the account's running request is its order, so that the list marks the account as 'Neu'."""
        return self.request is not None and self.request.kind is Kind.ORDER


def page_of(
    session: Session, main: Account, wanted: LocationFilter, *, after: str | None = None, limit: int = 50
) -> Page[ListedAccount]:
    """Return a page of the sub-accounts of `main`, and of accounts about to become one, that match the filters.

    `after` is the cursor of the page (None: the first), `limit` its size. One statement. Raises `BadCursor` if `after`
    is no cursor of the list in this order.
    """
    place = _place(after, wanted.order) if after is not None else None
    halves = [
        _from(half, key, wanted, place).limit(limit + 1).subquery().select() for half, key in _halves(main, wanted)
    ]
    listed = sa.union_all(*halves).subquery()
    query = (
        sa.select(Account, Request, listed.c.key)
        .join(listed, listed.c.id == Account.id)
        .outerjoin(Request, Request.id == listed.c.request_id)
        .order_by(*_sorted(listed.c.key, listed.c.id, wanted.order))
        .limit(limit + 1)
    )
    rows = session.execute(query).all()
    items = [ListedAccount(account, request) for account, request, _ in rows[:limit]]
    more = len(rows) > limit
    return Page(items, write_cursor(rows[limit - 1].key, rows[limit - 1].Account.id) if more else None)


def count_of(session: Session, main: Account, wanted: LocationFilter) -> int:
    """Return how many accounts of the overview of `main` match the filters, on all pages."""
    counts = [
        sa.select(sa.func.count()).select_from(half.subquery()).scalar_subquery() for half, _ in _halves(main, wanted)
    ]
    return session.scalar(sa.select(sum(counts[1:], counts[0]))) or 0


def cities_of(session: Session, main: Account) -> list[str]:
    """Return the cities of the sub-accounts of `main`, each once, in alphabetical order, at most `MOST_CITIES`."""
    key = plain_sql(Account.city).label("key")
    one = sa.select(Account.city, key).where(Account.main_id == main.id).order_by(key).limit(1)
    # From one city to the next by the index, rather than through all accounts.
    cities = one.cte("cities", recursive=True)
    following = one.where(plain_sql(Account.city) > cities.c.key).lateral()
    step = sa.select(following.c.city, following.c.key).select_from(cities.join(following, sa.true()))
    cities = cities.union_all(step)
    return list(session.scalars(sa.select(cities.c.city).limit(MOST_CITIES)))


def own_requests(session: Session, account: Account) -> list[Request]:
    """Return up to `MOST_LINKS` running requests that the overview's list does not show, the newest first.

    They are link requests of the account that have not been proved yet, so that they lead to no account, and a request
    that detaches the account itself from its main account.
    """
    running = Request.status.not_in(ENDED)
    links = sa.select(Request.id).where(Request.main_id == account.id, Request.account_id.is_(None), running)
    itself = sa.select(Request.id).where(Request.account_id == account.id, Request.kind == Kind.DETACH, running)
    query = sa.select(Request).where(Request.id.in_(links.union_all(itself)))
    return list(session.scalars(query.order_by(Request.id.desc()).limit(MOST_LINKS)))


def requests_by_id(session: Session, principal: Principal, ids: Sequence[uuid.UUID]) -> list[Request]:
    """Return the requests with these ids that the person may see, with their accounts. One statement."""
    accounts = joinedload(Request.main), joinedload(Request.account)
    found = session.scalars(sa.select(Request).where(Request.id.in_(ids)).options(*accounts))
    return [request for request in found if concerns(session, principal, request)]


def running_about(session: Session, account: Account) -> list[Request]:
    """Return the running requests of any main account about this account, the newest first."""
    query = sa.select(Request).where(Request.account_id == account.id, Request.status.not_in(ENDED))
    return list(session.scalars(query.order_by(Request.id.desc())))


def _halves(main: Account, wanted: LocationFilter) -> list[tuple[sa.Select[Any], sa.ColumnElement[Any]]]:
    running = _running(main)
    resting = (
        sa.select(
            Account.id,
            _key(wanted.order, Account.attached_at).label("key"),
            sa.cast(sa.null(), sa.Uuid).label("request_id"),
        )
        .where(Account.main_id == main.id)
        .where(~sa.exists().where(Request.main_id == main.id, Request.account_id == Account.id, _RUNS))
    )
    moving = sa.select(
        Account.id, _key(wanted.order, running.c.created_at).label("key"), running.c.id.label("request_id")
    ).join(running, running.c.account_id == Account.id)
    match wanted.show:
        case Show.ACTIVE:
            moving = moving.where(sa.false())
        case Show.NEW:
            resting, moving = resting.where(sa.false()), moving.where(running.c.kind == Kind.ORDER)
        case Show.WAITING:
            resting, moving = resting.where(sa.false()), moving.where(running.c.status == Status.PENDING)
        case Show.RUNNING:
            resting, moving = resting.where(sa.false()), moving.where(running.c.status != Status.PENDING)
    return [
        (_narrow(resting, wanted), _key(wanted.order, Account.attached_at)),
        (_narrow(moving, wanted), _key(wanted.order, running.c.created_at)),
    ]


_RUNS = Request.status.not_in(ENDED)


def _running(main: Account) -> sa.Subquery:
    # An account can have two at a time: its order is being confirmed while it is already taken out again.
    return (
        sa.select(Request.id, Request.account_id, Request.kind, Request.status, Request.created_at)
        .ext(postgresql.distinct_on(Request.account_id))
        .where(Request.main_id == main.id, Request.account_id.is_not(None), _RUNS)
        .order_by(Request.account_id, Request.id.desc())
        .subquery()
    )


def _key(order: Order, since: sa.ColumnElement[Any] | Any) -> sa.ColumnElement[Any]:
    match order:
        case Order.NAME:
            return plain_sql(Account.name)
        case Order.CITY:
            return plain_sql(Account.city)
        case Order.NUMBER:
            return sa.type_coerce(Account.customer_number, sa.Text)
        case Order.NEWEST:
            return sa.type_coerce(since, sa.TIMESTAMP(timezone=True))


def _narrow(query: sa.Select[Any], wanted: LocationFilter) -> sa.Select[Any]:
    if wanted.origin is not None:
        query = query.where(Account.origin == wanted.origin)
    if wanted.city:
        # "Frankfurt" finds "Frankfurt am Main", and either spelling finds "Köln".
        plain, spelled = plain_sql(Account.city), spelled_sql(Account.city)
        query = query.where(
            sa.or_(sa.func.starts_with(plain, fold(wanted.city)), sa.func.starts_with(spelled, spell(wanted.city)))
        )
    words = matching(
        wanted.search.split(),
        Account.customer_number,
        Account.name,
        Account.contact_name,
        Account.street,
        Account.postal_code,
        Account.city,
    )
    return query.where(*words)


def _from(query: sa.Select[Any], key: sa.ColumnElement[Any], wanted: LocationFilter, place: Any) -> sa.Select[Any]:
    if place is not None:
        here, there = sa.tuple_(key, Account.id), sa.tuple_(*place)
        query = query.where(here < there if wanted.order is Order.NEWEST else here > there)
    return query.order_by(*_sorted(key, Account.id, wanted.order))


def _sorted(key: Any, id: Any, order: Order) -> tuple[Any, Any]:
    return (key.desc(), id.desc()) if order is Order.NEWEST else (key, id)


def _place(cursor: str, order: Order) -> tuple[Any, Any]:
    kind, column = (datetime, sa.TIMESTAMP(timezone=True)) if order is Order.NEWEST else (str, sa.Text())
    key, id = read_cursor(cursor, kind, int)
    return sa.literal(key, column), sa.literal(id, sa.BigInteger)
