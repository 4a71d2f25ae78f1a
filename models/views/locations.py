"""The overview of a main account's sub-accounts, with search, filters and sort orders, page by page.

The list is the union of several queries without common rows: one for each state of sub-accounts without an unfinished
request, and one for accounts with such a request, whether already attached or not. Each query reads one range of an
index in the order of the list, so that the cost of a page does not depend on the number of accounts.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import cache, lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, joinedload

from models.accounts.accounts import Account
from models.db.paging import Page, read_cursor, write_cursor
from models.db.word_search import matching, plain_sql, spelled_sql
from models.people.rights import Principal
from models.requests.request_rights import concerns
from models.requests.requests import Request
from models.spelling import fold, spell
from models.states import ENDED, Actor, Kind, Origin, Status
from models.views.location_states import (
    MAIN_ID,
    MOVING,
    RESTING,
    RUNS,
    WAITS,
    Show,
    SiteState,
    is_offline,
    is_suspended,
    moving_state,
    resting_state,
    running,
    state_of,
    values_for,
)

MOST_CITIES = 100
MOST_LINKS = 12
_KEPT = 64
"""How many of the list's queries a process caches: enough for the usual filters on their first pages."""


class Order(StrEnum):
    """The sort orders of the overview's list.

    `NEED`: first new orders (not those of a bulk file), then what somebody has to act on, then the rest. `NEWEST`: by
    the time at which the unfinished request was made or, without one, at which the account was attached. `NAME`, `CITY`
    and `NUMBER` (customer number) are alphabetical.
    """

    NEED = "need"
    NEWEST = "newest"
    NAME = "name"
    CITY = "city"
    NUMBER = "number"


@dataclass(frozen=True, slots=True)
class LocationFilter:
    """The filters and the sort order of the overview's list; a field that is None or "" does not filter.

    Each word of `search` must occur in the account's customer number, name, contact or address. `show` filters by
    state, `origin` by the way in which an account was attached. `city` is the beginning of a city's name, or the whole
    name if `is_whole_city`. `tag` is one of the account's tags.
    """

    search: str = ""
    show: Show | None = None
    origin: Origin | None = None
    city: str = ""
    is_whole_city: bool = False
    tag: str = ""
    order: Order = Order.NEED

    @property
    def is_narrowed(self) -> bool:
        """Return whether any filter is set."""
        return bool(self.search or self.show or self.origin or self.city or self.tag)


@dataclass(frozen=True, slots=True)
class ListedAccount:
    """A row of the overview's list: an account and its state.

    `request` is its newest unfinished request, None if there is none.
    """

    account: Account
    request: Request | None
    state: SiteState = SiteState.IN_SERVICE

    @property
    def is_new(self) -> bool:
        """Return whether the account's unfinished request is its order, so that the list marks the account as 'Neu'."""
        return self.request is not None and self.request.kind is Kind.ORDER


def page_of(
    session: Session,
    main: Account,
    wanted: LocationFilter,
    *,
    after: str | None = None,
    limit: int = 50,
    offline: Sequence[int] = (),
) -> Page[ListedAccount]:
    """Return a page of the accounts that match the filters: sub-accounts of `main`, and accounts about to become one.

    `wanted` has the filters and the sort order. `after` is the cursor from the previous page (None: first page),
    `limit` the page size. `offline` are the ids of the accounts that have a trunk without a registered phone system.
    Runs one statement. Raises `BadCursor` if `after` is no cursor of the list in this order.
    """
    place = _place(after, wanted.order) if after is not None else None
    query = _page(wanted, place, limit)
    if query is None:
        return Page([], None)
    rows = session.execute(query, values_for(main, offline)).all()
    items = [
        ListedAccount(row.Account, row.Request, state_of(row.Request) or SiteState(row.resting)) for row in rows[:limit]
    ]
    if len(rows) <= limit:
        return Page(items, None)
    last = rows[limit - 1]
    ranks = (last.urgency,) if wanted.order is Order.NEED else ()
    return Page(items, write_cursor(*ranks, last.key, last.Account.id))


@lru_cache(_KEPT)
def _page(wanted: LocationFilter, place: tuple[Any, ...] | None, limit: int) -> sa.Select[*tuple[Any, ...]] | None:
    """Return the query for a page of the list after the row with the sort keys `place` (None: first page).

    `wanted` has the filters and the sort order. The query reads one row more than `limit`, to show whether there is a
    next page. Returns None if the filters exclude every row.
    """
    parts = [_from(part, wanted, place).limit(limit + 1) for part in _parts(wanted)]
    if not parts:
        return None
    listed = sa.union_all(*(part.subquery().select() for part in parts)).subquery()
    return (
        sa.select(Account, Request, listed.c.key, listed.c.urgency, resting_state().label("resting"))
        .join(listed, listed.c.id == Account.id)
        .outerjoin(Request, Request.id == listed.c.request_id)
        .order_by(*_sorted(wanted.order, listed.c.urgency, listed.c.key, listed.c.id))
        .limit(limit + 1)
    )


def count_of(session: Session, main: Account, wanted: LocationFilter, *, offline: Sequence[int] = ()) -> int:
    """Return how many accounts of the overview of `main` match the filters, on all pages.

    `offline` are the ids of the accounts that have a trunk without a registered phone system.
    """
    query = _count(replace(wanted, order=Order.NEWEST))
    return (session.scalar(query, values_for(main, offline)) or 0) if query is not None else 0


@lru_cache(_KEPT)
def _count(wanted: LocationFilter) -> sa.Select[int] | None:
    counts = [
        sa.select(sa.func.count()).select_from(part.query.subquery()).scalar_subquery() for part in _parts(wanted)
    ]
    return sa.select(sum(counts[1:], counts[0])) if counts else None


def listed_itself(
    session: Session, account: Account, own: Sequence[Request], *, offline: Sequence[int] = ()
) -> ListedAccount:
    """Return a main account's own row in its overview. Runs one statement.

    `own` are the account's unfinished requests that the list of sub-accounts does not show (`own_requests`). If one of
    them detaches the account from a main account of its own, it is the row's request. `offline` are the ids of accounts
    that have a trunk without a registered phone system.
    """
    leaving = next((found for found in own if found.kind is Kind.DETACH), None)
    resting = session.scalars(_state_of_main(), values_for(account, offline)).one()
    return ListedAccount(account, leaving, state_of(leaving) or SiteState(resting))


@cache
def _state_of_main() -> sa.Select[str]:
    return sa.select(resting_state()).where(Account.id == MAIN_ID)


def cities_of(session: Session, main: Account) -> list[str]:
    """Return up to `MOST_CITIES` (100) cities of the sub-accounts of `main`, each once, in alphabetical order."""
    return list(session.scalars(_cities(), values_for(main)))


@cache
def _cities() -> sa.Select[str]:
    # One pass over the sub-accounts. From city to city by the index would be less, but behind row-level security the
    # key is no condition of an index, and each city would be a pass of its own.
    key = plain_sql(Account.city)
    query = sa.select(sa.func.min(Account.city)).where(Account.main_id == MAIN_ID)
    return query.group_by(key).order_by(key).limit(MOST_CITIES)


def own_requests(session: Session, account: Account) -> list[Request]:
    """Return up to `MOST_LINKS` (12) unfinished requests of the account that the overview's list does not show.

    These are its link requests for accounts whose ownership is not proved yet, and a request to detach the account
    itself from its main account. Requests that wait for the requester come first, then the newest.
    """
    return list(session.scalars(_own_requests(), values_for(account)))


@cache
def _own_requests() -> sa.Select[Request]:
    links = sa.select(Request.id).where(Request.main_id == MAIN_ID, Request.account_id.is_(None), RUNS)
    itself = sa.select(Request.id).where(Request.account_id == MAIN_ID, Request.kind == Kind.DETACH, RUNS)
    query = sa.select(Request).where(Request.id.in_(links.union_all(itself)))
    urgent = sa.func.coalesce(Request.waiting_for == Actor.REQUESTER, sa.false())
    return query.order_by(urgent.desc(), Request.id.desc()).limit(MOST_LINKS)


def requests_by_id(session: Session, principal: Principal, ids: Sequence[uuid.UUID]) -> list[Request]:
    """Return the requests with these ids that the person may see, in no particular order; other ids are ignored.

    Each request's main account, and the account that it is about, are loaded with it.
    """
    accounts = joinedload(Request.main), joinedload(Request.account)
    found = session.scalars(sa.select(Request).where(Request.id.in_(ids)).options(*accounts))
    return [request for request in found if concerns(session, principal, request)]


def running_about(session: Session, account: Account) -> list[Request]:
    """Return the requests about this account that have not ended, of any main account, the newest first."""
    query = sa.select(Request).where(Request.account_id == account.id, Request.status.not_in(ENDED))
    return list(session.scalars(query.order_by(Request.id.desc())))


# The higher, the further up.
_URGENCY = {state: urgency for urgency, state in enumerate(reversed(SiteState))}
_JUST_ORDERED = len(_URGENCY)


@dataclass(frozen=True, slots=True)
class _Part:
    """One of the queries whose union is the overview's list; no row is in two of them.

    `urgency` is the urgency of the query's rows; in the order `NEED`, rows of higher urgency come first. `key` sorts
    rows of equal urgency.
    """

    query: sa.Select[Any]
    key: sa.ColumnElement[Any]
    urgency: sa.ColumnElement[int] | int


def _parts(wanted: LocationFilter) -> list[_Part]:
    shown = wanted.show.states if wanted.show is not None else frozenset(SiteState)
    parts = []
    if shown.issuperset(RESTING) and wanted.order is not Order.NEED:
        parts.append(_resting(wanted, sa.true(), 0))
    else:
        conditions = {
            SiteState.SUSPENDED: is_suspended(),
            SiteState.OFFLINE: sa.and_(is_offline(), ~is_suspended()),
            SiteState.IN_SERVICE: sa.and_(~is_suspended(), ~is_offline()),
        }
        parts += [_resting(wanted, conditions[state], _URGENCY[state]) for state in RESTING if state in shown]
    if not shown.isdisjoint(MOVING):
        parts.append(_moving(wanted, shown))
    return parts


def _resting(wanted: LocationFilter, condition: sa.ColumnElement[bool], urgency: int) -> _Part:
    key = _key(wanted.order, Account.attached_at)
    query = (
        sa.select(
            Account.id,
            key.label("key"),
            sa.cast(sa.null(), sa.Uuid).label("request_id"),
            sa.literal_column(str(urgency), sa.Integer).label("urgency"),
        )
        .where(Account.main_id == MAIN_ID, condition)
        .where(~sa.exists().where(Request.main_id == MAIN_ID, Request.account_id == Account.id, RUNS))
    )
    return _Part(_narrow(query, wanted), key, urgency)


def _moving(wanted: LocationFilter, shown: frozenset[SiteState]) -> _Part:
    newest = running()
    key, urgency = _key(wanted.order, newest.c.created_at), _urgency(newest)
    query = sa.select(Account.id, key.label("key"), newest.c.id.label("request_id"), urgency.label("urgency")).join(
        newest, newest.c.account_id == Account.id
    )
    if wanted.show is Show.NEW:
        query = query.where(newest.c.kind == Kind.ORDER)
    if not shown.issuperset(MOVING):
        query = query.where(moving_state(newest.c).in_(shown))
    return _Part(_narrow(query, wanted), key, urgency)


def _urgency(newest: sa.Subquery) -> sa.ColumnElement[int]:
    requested = newest.c
    # Found at once by the person who has just ordered it. A bulk would fill pages.
    just_ordered = sa.and_(
        requested.kind == Kind.ORDER,
        requested.status.in_((Status.ACKNOWLEDGED, Status.IN_PROGRESS)),
        requested.bulk_id.is_(None),
    )
    ranks = ((requested.waiting_for == actor, _URGENCY[state]) for actor, state in WAITS.items())
    return sa.case((just_ordered, _JUST_ORDERED), *ranks, else_=_URGENCY[SiteState.RUNNING])


def _key(order: Order, since: sa.ColumnElement[Any] | Any) -> sa.ColumnElement[Any]:
    match order:
        case Order.NAME:
            return plain_sql(Account.name)
        case Order.CITY:
            return plain_sql(Account.city)
        case Order.NUMBER:
            return sa.type_coerce(Account.customer_number, sa.Text)
        case Order.NEED | Order.NEWEST:
            return sa.type_coerce(since, sa.TIMESTAMP(timezone=True))


def _narrow(query: sa.Select[Any], wanted: LocationFilter) -> sa.Select[Any]:
    if wanted.origin is not None:
        query = query.where(Account.origin == wanted.origin)
    if wanted.city and wanted.is_whole_city:
        query = query.where(plain_sql(Account.city) == fold(wanted.city))
    elif wanted.city:
        # "Frankfurt" finds "Frankfurt am Main", and either spelling finds "Köln".
        plain, spelled = plain_sql(Account.city), spelled_sql(Account.city)
        query = query.where(
            sa.or_(sa.func.starts_with(plain, fold(wanted.city)), sa.func.starts_with(spelled, spell(wanted.city)))
        )
    if wanted.tag:
        query = query.where(sa.literal(wanted.tag) == sa.any_(Account.tags))
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


def _from(part: _Part, wanted: LocationFilter, place: tuple[Any, ...] | None) -> sa.Select[Any]:
    query, here = (
        part.query.order_by(*_sorted(wanted.order, part.urgency, part.key, Account.id)),
        (part.key, Account.id),
    )
    if place is None:
        return query
    rank, there = place[0], _sql(place[-2:], wanted.order)
    if wanted.order is not Order.NEED:
        before = wanted.order is Order.NEWEST
        return query.where(sa.tuple_(*here) < there if before else sa.tuple_(*here) > there)
    if not isinstance(part.urgency, int):
        less = sa.and_(part.urgency == rank, sa.tuple_(*here) < there)
        return query.where(sa.or_(part.urgency < rank, less))
    # All rows of the part have one rank: it comes as a whole before the place, after it, or contains it.
    if part.urgency == rank:
        return query.where(sa.tuple_(*here) < there)
    return query if part.urgency < rank else query.where(sa.false())


def _sorted(order: Order, urgency: Any, key: Any, id: Any) -> tuple[Any, ...]:
    match order:
        case Order.NEED:
            return (key.desc(), id.desc()) if isinstance(urgency, int) else (urgency.desc(), key.desc(), id.desc())
        case Order.NEWEST:
            return key.desc(), id.desc()
    return key, id


def _place(cursor: str, order: Order) -> tuple[Any, ...]:
    """Return a row's sort keys from a cursor: the urgency (only in the order `NEED`), the key and the account's id."""
    match order:
        case Order.NEED:
            return read_cursor(cursor, int, datetime, int)
        case Order.NEWEST:
            return read_cursor(cursor, datetime, int)
    return read_cursor(cursor, str, int)


def _sql(place: tuple[Any, ...], order: Order) -> sa.ColumnElement[Any]:
    column = sa.TIMESTAMP(timezone=True) if order in (Order.NEED, Order.NEWEST) else sa.Text()
    return sa.tuple_(sa.literal(place[0], column), sa.literal(place[1], sa.BigInteger))
