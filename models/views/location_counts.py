"""Counts and totals of the locations of a main account: by state, and in groups by state or by town."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.contracts.contracts import Contract, ContractItem, runs
from models.db.word_search import plain_sql
from models.requests.requests import Request
from models.states import ATTACHING
from models.telephony.numbers import NumberBlock
from models.telephony.trunks import SipTrunk, TrunkState
from models.views.location_states import (
    MAIN_ID,
    RUNS,
    SiteState,
    moving_state,
    resting_state,
    running,
    values_for,
)

MOST_GROUPS = 500
"""The greatest number of groups that are read; towns after these in alphabetical order are left out."""

URGENT = (SiteState.YOURS, SiteState.SUSPENDED, SiteState.OFFLINE)
"""The states of locations that people of the main account should look at."""


class GroupBy(StrEnum):
    """The ways to group locations: by the town of the connection address, or by state."""

    CITY = "city"
    STATE = "state"


@dataclass(frozen=True, slots=True)
class Counts:
    """The numbers of locations of a main account.

    `sites` is the number of all locations, the main account included, and `states` the number of locations in each
    state. `links` is the number of link requests that have not ended and whose account is not known yet. They are no
    locations, but are counted in `states`.
    """

    sites: int
    states: Mapping[SiteState, int]
    links: int


@dataclass(frozen=True, slots=True)
class Sums:
    """The totals of several locations: their number (`sites`), monthly price, channels, phone numbers, and trunks.

    `monthly_cents` is in net euro cents. `urgent` is the number of locations that wait for the requester, are
    suspended, or have a trunk without a registered phone system.
    """

    sites: int = 0
    urgent: int = 0
    monthly_cents: int = 0
    channels: int = 0
    numbers: int = 0
    trunks: int = 0


@dataclass(frozen=True, slots=True)
class Group:
    """The locations in one town or state (`name`), and their totals (`sums`).

    `postal_code` is the lowest of their postal codes, by which a town is placed on the map.
    """

    name: str
    sums: Sums
    postal_code: str


def counts_of(session: Session, main: Account, *, offline: Sequence[int] = ()) -> Counts:
    """Return how many locations of a main account are in each state. Runs one statement.

    `offline` are the ids of the accounts that have a trunk without a registered phone system.
    """
    rows = session.execute(_counts(), values_for(main, offline)).all()
    states: Counter[SiteState] = Counter()
    for row in rows:
        states[SiteState(row.state)] += row.times
    links_count = sum(row.times for row in rows if row.is_link)
    return Counts(states.total() - links_count, states, links_count)


@cache
def _counts() -> sa.Select[str, bool, int]:
    """Return the query that counts a main account's locations, and its links without a known account, by state.

    Its columns are `state`, `is_link` and `times`; its parameters are those of `values_for`. Built once per process.
    """
    requested = running()
    moving = sa.select(moving_state(requested.c).label("state"), sa.literal(value=False).label("is_link"))
    links = sa.select(moving_state(Request).label("state"), sa.literal(value=True).label("is_link"))
    links = links.where(Request.main_id == MAIN_ID, Request.account_id.is_(None), Request.kind.in_(ATTACHING), RUNS)
    resting = sa.select(resting_state().label("state"), sa.literal(value=False).label("is_link")).where(
        ~sa.exists().where(Request.main_id == MAIN_ID, Request.account_id == Account.id, RUNS)
    )
    # Apart, so that each is a range of an index.
    own = resting.where(Account.id == MAIN_ID)
    listed = sa.union_all(resting.where(Account.main_id == MAIN_ID), own, moving, links).subquery()
    return sa.select(listed.c.state, listed.c.is_link, sa.func.count().label("times")).group_by(
        listed.c.state, listed.c.is_link
    )


def groups_of(
    session: Session, main: Account, by: GroupBy, now: datetime, *, offline: Sequence[int] = ()
) -> list[Group]:
    """Return the locations of a main account, itself included, in groups by town or state, sorted by name.

    Only the first `MOST_GROUPS` (500) groups are returned. `offline` are the ids of the accounts that have a trunk
    without a registered phone system. Runs one statement, whose cost grows with the number of locations.
    """
    return [
        Group(
            row.name,
            Sums(
                row.sites,
                row.urgent,
                row.monthly_cents or 0,
                row.channels or 0,
                row.numbers or 0,
                row.trunks or 0,
            ),
            row.postal_code,
        )
        for row in session.execute(_groups(by), values_for(main, offline) | {"now": now})
    ]


@cache
def _groups(by: GroupBy) -> sa.Select[*tuple[Any, ...]]:
    now = sa.bindparam("now", type_=Contract.ended_at.type)
    requested = running()
    ids = sa.union(
        sa.select(Account.id).where(Account.main_id == MAIN_ID),
        sa.select(MAIN_ID),
        sa.select(requested.c.account_id),
    ).subquery()
    moving = running()
    state = sa.case((moving.c.id.is_not(None), moving_state(moving.c)), else_=resting_state())
    key = plain_sql(Account.city) if by is GroupBy.CITY else state
    name = Account.city if by is GroupBy.CITY else state
    members = (
        sa.select(Account.id, Account.postal_code, key.label("key"), name.label("name"), state.label("state"))
        .join(ids, ids.c.id == Account.id)
        .outerjoin(moving, moving.c.account_id == Account.id)
        .cte("members")
    )
    sites = (
        sa.select(
            members.c.key,
            sa.func.min(members.c.name).label("name"),
            sa.func.min(members.c.postal_code).label("postal_code"),
            sa.func.count().label("sites"),
            sa.func.count().filter(members.c.state.in_(URGENT)).label("urgent"),
        )
        .group_by(members.c.key)
        .order_by(members.c.key)
        .limit(MOST_GROUPS)
        .subquery()
    )
    costs = (
        sa.select(members.c.key, sa.func.sum(ContractItem.monthly_cents).label("monthly_cents"))
        .join(Contract, Contract.account_id == members.c.id)
        .join(ContractItem, ContractItem.contract_id == Contract.id)
        .where(runs(Contract, now), runs(ContractItem, now))
        .group_by(members.c.key)
        .subquery()
    )
    trunks = (
        sa.select(members.c.key, sa.func.sum(SipTrunk.channels).label("channels"), sa.func.count().label("trunks"))
        .join(SipTrunk, SipTrunk.account_id == members.c.id)
        .where(SipTrunk.state != TrunkState.CLOSED)
        .group_by(members.c.key)
        .subquery()
    )
    numbers = (
        sa.select(members.c.key, sa.func.sum(NumberBlock.size).label("numbers"))
        .join(NumberBlock, NumberBlock.account_id == members.c.id)
        .group_by(members.c.key)
        .subquery()
    )
    return (
        sa.select(sites, costs.c.monthly_cents, trunks.c.channels, trunks.c.trunks, numbers.c.numbers)
        .outerjoin(costs, costs.c.key == sites.c.key)
        .outerjoin(trunks, trunks.c.key == sites.c.key)
        .outerjoin(numbers, numbers.c.key == sites.c.key)
        .order_by(sites.c.key)
    )


def total(groups: Iterable[Group]) -> Sums:
    """Return the sum of the totals of all groups."""
    columns = zip(*(astuple(group.sums) for group in groups), strict=True)
    return Sums(*(sum(column) for column in columns))


@dataclass(frozen=True, slots=True)
class TrunkAddress:
    """The SIP user and domain of an active trunk, and the id of its account."""

    account_id: int
    sip_user: str
    domain: str


def trunk_addresses(session: Session, main: Account, limit: int | None = None) -> list[TrunkAddress] | None:
    """Return the active trunks of a main account and its sub-accounts, in no particular order.

    Returns None if there are more than `limit` trunks. If `limit` is None, all are returned, however many they are.
    """
    columns = (SipTrunk.account_id, SipTrunk.sip_user, SipTrunk.domain)
    active = sa.select(*columns).where(SipTrunk.state == TrunkState.ACTIVE)
    below = active.join(Account, Account.id == SipTrunk.account_id).where(Account.main_id == main.id)
    query = sa.union_all(below, active.where(SipTrunk.account_id == main.id))
    rows = session.execute(query.limit(limit + 1) if limit is not None else query).all()
    if limit is not None and len(rows) > limit:
        return None
    return [TrunkAddress(*row) for row in rows]
