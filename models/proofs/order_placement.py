"""Placing orders within the daily limits of a company, which also count the letters and mails that its orders cause."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.accounts.company_limits import (
    DailyUse,
    Limit,
    Limits,
    OwnLimits,
    add_uses,
    lock_limits,
    next_day,
)
from models.calendar_days import berlin_day, start_of_day
from models.contracts.catalogue import PriceLine, keep_price_list, price_list_sql
from models.errors import Forbidden, LimitReached
from models.orders.orders import LIST_PRICES, Location, OrderDraft, ensure_orderable, keep_area, queue_order
from models.orders.reserved_ids import ReservedIds, proposals, reserve_ids, reserved_rows
from models.people.rights import Action, Principal, may
from models.people.users import User
from models.proofs.proofs import AddressProof, EmailProof
from models.requests.requests import Request
from models.same_address import address_key
from models.states import ENDED, Kind
from models.telephony.area_codes import AreaCode


def place_order(
    session: Session,
    principal: Principal,
    main: Account,
    draft: OrderDraft,
    now: datetime,
    usual: Limits,
    agreed: Mapping[str, PriceLine] = LIST_PRICES,
) -> Request:
    """Place an order for a sub-account of `main`, if the limits of the company allow one more; return its request.

    The order is counted against these limits. Other transactions that count orders of this company wait until this one
    ends. The order's rows are inserted at the next flush (`queue_order`). `usual` are the limits of companies that have
    none of their own. `agreed` are prices by product key that replace those of the price list. Raises `Forbidden` if
    the person may not order for `main`, `RuleBroken` if `main` cannot have sub-accounts, `InvalidField` if a field of
    the order breaks a rule, and `LimitReached` if a limit does not allow the order.
    """
    if not may(principal, Action.ORDER, main):
        raise Forbidden
    lock_limits(session, main.id)
    known, [needed] = _compared(session, principal, main, _entered([draft]), now, usual, area_code=draft.area_code)
    reached = _reached(known.limits, known.used, needed, now)
    if reached is not None:
        raise reached
    ensure_orderable(session, principal, main, draft, now)
    add_uses(session, main.id, _daily(Counter(needed)), now)
    [ids] = known.ids or reserve_ids(session, 1)
    return queue_order(session, principal, main, draft, now, ids, agreed=agreed)


def take_for_orders(
    session: Session,
    principal: Principal,
    main: Account,
    drafts: Sequence[OrderDraft],
    now: datetime,
    usual: Limits,
) -> tuple[int, LimitReached | None]:
    """Count the orders `drafts` against the limits of their company: as many as the limits allow, from the first on.

    Returns the number of allowed orders, and the limit that forbids the next one; None if all are allowed. The caller
    must place the allowed orders in the same transaction. `usual` are the limits of companies that have none of their
    own. Other transactions that count orders of this company wait until this one ends.
    """
    lock_limits(session, main.id)
    count, uses, reached = _fitting(session, principal, main, drafts, now, usual)
    add_uses(session, main.id, _daily(uses), now)
    return count, reached


def _daily(uses: Mapping[Limit, int]) -> dict[Limit, int]:
    return {what: times for what, times in uses.items() if what is not Limit.OPEN_ORDERS}


@dataclass(frozen=True, slots=True)
class OrderDays:
    """A forecast of how many orders of a list can be placed on which day, under the present limits of their company.

    `days` are pairs of the start of a day (in Germany) and the number of orders: one for today, and one for each later
    day with orders. `reached` is the limit that stops the orders of today; None if all can be placed today. Orders
    that are on no day have to wait until open orders end.
    """

    days: Sequence[tuple[datetime, int]]
    reached: LimitReached | None

    @property
    def today(self) -> int:
        """Return the number of orders that can be placed today."""
        return self.days[0][1]


def plan_orders(
    session: Session,
    principal: Principal,
    main: Account,
    drafts: Sequence[OrderDraft],
    now: datetime,
    usual: Limits,
) -> OrderDays:
    """Return how many of the orders `drafts`, from the first on, the company's limits would allow on which day.

    Nothing is counted or reserved. The result assumes that no open order ends and that nothing else is ordered. `usual`
    are the limits of companies that have none of their own.
    """
    known, needs = _compared(session, principal, main, _entered(drafts), now, usual)
    limits, used = known.limits, known.used
    day, first = start_of_day(now), None
    counts: Counter[datetime] = Counter({day: 0})
    for needed in needs:
        reached = _reached(limits, used, needed, now)
        first = first or reached
        if reached is not None and Limit(reached.limit) is not Limit.OPEN_ORDERS:
            day = next_day(day)
            used = Counter({Limit.OPEN_ORDERS: used[Limit.OPEN_ORDERS]})
            reached = _reached(limits, used, needed, now)
        if reached is not None:
            return OrderDays(sorted(counts.items()), first)
        used.update(needed)
        counts[day] += 1
    return OrderDays(sorted(counts.items()), first)


def limit_of_draft(
    session: Session,
    principal: Principal,
    main: Account,
    location: Location | None,
    email: str | None,
    now: datetime,
    usual: Limits,
) -> LimitReached | None:
    """Return the limit of the company that forbids placing an order that is still being typed; None if none does.

    `location` and the contact's `email` are None until they are typed; what is None is not counted. `usual` are the
    limits of companies that have none of their own. Nothing is counted or reserved in the database.
    """
    known, [needed] = _compared(session, principal, main, [(location, email)], now, usual)
    return _reached(known.limits, known.used, needed, now)


def _fitting(
    session: Session, principal: Principal, main: Account, drafts: Sequence[OrderDraft], now: datetime, usual: Limits
) -> tuple[int, Counter[Limit], LimitReached | None]:
    known, needs = _compared(session, principal, main, _entered(drafts), now, usual)
    fresh: Counter[Limit] = Counter()
    for count, needed in enumerate(needs):
        reached = _reached(known.limits, known.used + fresh, needed, now)
        if reached is not None:
            return count, fresh, reached
        fresh.update(needed)
    return len(drafts), fresh, None


def _entered(drafts: Sequence[OrderDraft]) -> list[tuple[Location | None, str | None]]:
    return [(draft.location, draft.contact.email) for draft in drafts]


@dataclass(frozen=True, slots=True)
class _Known:
    """A company's limits, what it has used of them today, and the ids reserved for one order.

    `ids` has one element; it is empty if no ids were to be reserved, or if no free customer number was found.
    """

    limits: Limits
    used: Counter[Limit]
    ids: Sequence[ReservedIds]


def _compared(
    session: Session,
    principal: Principal,
    main: Account,
    orders: Sequence[tuple[Location | None, str | None]],
    now: datetime,
    usual: Limits,
    area_code: str | None = None,
) -> tuple[_Known, Iterator[list[Limit]]]:
    """Return a company's limits and what it has used of them, and for each order the limits against which it counts.

    `orders` are pairs of location and contact's e-mail address; None for what is not entered yet, which does not count.
    Runs one statement. With an `area_code`, the one order is about to be placed: the statement then also reserves ids
    for it and reads what `ensure_orderable` looks up.
    """
    keys = [address_key(place.street, place.postal_code, place.city) if place else None for place, _ in orders]
    emails = [email.lower() if email else None for _, email in orders]
    values = {
        "main": main.id,
        "person": principal.user_id,
        "today": berlin_day(now),
        "emails": emails,
        "keys": keys,
        "asked_before": now - AddressProof.new_after,
    }
    ids: Sequence[ReservedIds] = ()
    if area_code is None:
        known = session.execute(_known(), values).one()
    else:
        values |= proposals(1) | {"area_code": area_code, "day": berlin_day(now)}
        known = session.execute(_known_and_reserved(), values).one()
        keep_price_list(session, berlin_day(now), known.price_list)
        keep_area(session, area_code, known.area_name)
        if known.request_id is not None:
            ids = [ReservedIds(known.request_id, known.account_id, known.customer_number)]
    own = {limit: given for limit in Limit if (given := getattr(known, f"own_{limit}")) is not None}
    used = Counter({Limit(what): count for what, count in known.used.items()} | {Limit.OPEN_ORDERS: known.open_orders})
    return _Known(replace(usual, **own), used, ids), _needs(emails, keys, set(known.contacts), set(known.addresses))


def _reached(limits: Limits, used: Counter[Limit], needed: Sequence[Limit], now: datetime) -> LimitReached | None:
    """Return the first of the limits `needed` that does not allow one more order; None if all allow it.

    `needed` are the limits against which the order counts, `used` how often each is used already.
    """
    for limit in needed:
        if used[limit] + 1 > limits.of(limit):
            return LimitReached(limit, limits.of(limit), None if limit is Limit.OPEN_ORDERS else next_day(now))
    return None


@cache
def _known() -> sa.Select[*tuple[Any, ...]]:
    """Return the query for the facts that decide whether the limits of a company allow an order, in one row.

    They are the company's own limits, what it has used today, the number of its open orders, and the `contacts` and
    `addresses` that do not count again. These are the given e-mail addresses and address keys that the company has used
    before, except addresses whose letter is so old that a new one can be requested. The confirmed e-mail address of the
    ordering user is always included.
    """
    main, strings = sa.bindparam("main", type_=sa.BigInteger), postgresql.ARRAY(sa.Text)
    uses = sa.func.json_object_agg(DailyUse.what, DailyUse.used)
    used = sa.select(sa.func.coalesce(uses, sa.literal_column("'{}'::json"), type_=sa.JSON)).where(
        DailyUse.account_id == main, DailyUse.day == sa.bindparam("today", type_=sa.Date)
    )
    open_orders = sa.select(sa.func.count()).where(
        Request.main_id == main, Request.kind == Kind.ORDER, Request.status.not_in(ENDED)
    )
    of_email = sa.select(EmailProof.address).where(
        EmailProof.main_id == main, EmailProof.address == sa.any_(sa.bindparam("emails", type_=strings))
    )
    person = sa.bindparam("person", type_=sa.BigInteger)
    confirmed = sa.select(User.email).where(User.id == person, User.email_confirmed_at.is_not(None))
    of_address = sa.select(AddressProof.address_key).where(
        AddressProof.main_id == main,
        AddressProof.address_key == sa.any_(sa.bindparam("keys", type_=strings)),
        AddressProof.proved_at.is_not(None)
        | (AddressProof.asked_at > sa.bindparam("asked_before", type_=AddressProof.asked_at.type)),
    )
    company = sa.select(main.label("id")).subquery()
    return sa.select(
        *(getattr(OwnLimits, limit).label(f"own_{limit}") for limit in Limit),
        used.scalar_subquery().label("used"),
        open_orders.scalar_subquery().label("open_orders"),
        sa.func.array(of_email.union_all(confirmed).scalar_subquery(), type_=strings).label("contacts"),
        sa.func.array(of_address.scalar_subquery(), type_=strings).label("addresses"),
    ).select_from(company.outerjoin(OwnLimits, OwnLimits.account_id == company.c.id))


@cache
def _known_and_reserved() -> sa.Select[*tuple[Any, ...]]:
    """Return a query that reads a company's limits and what it has used of them, and reserves ids for one order.

    It returns one row with the columns of `_known`, the price list, the town name of the area code, and the columns
    `request_id`, `account_id` and `customer_number` of the reserved ids. These three are null if all the customer
    numbers that were proposed as a parameter were issued before.
    """
    reserved = reserved_rows().subquery()
    area = sa.select(AreaCode.name).where(AreaCode.code == sa.bindparam("area_code", type_=sa.Text))
    return (
        _known()
        .add_columns(reserved, price_list_sql().label("price_list"), area.scalar_subquery().label("area_name"))
        .join(reserved, sa.true(), isouter=True)
    )


def _needs(
    emails: Sequence[str | None], keys: Sequence[str | None], contacts: set[str], addresses: set[str]
) -> Iterator[list[Limit]]:
    """Yield for each order the limits against which it counts.

    `emails` are the e-mail addresses of the orders' contacts, `keys` the address keys of their connection addresses;
    None does not count. A new contact or address counts once, for the first order that has it. One that is among the
    known `contacts` or `addresses` does not count; new ones are added to these sets.
    """
    for email, key in zip(emails, keys, strict=True):
        needed = [Limit.OPEN_ORDERS, Limit.BLOCKS]
        if key is not None and key not in addresses:
            needed.append(Limit.LETTERS)
            addresses.add(key)
        if email is not None and email not in contacts:
            needed.append(Limit.CONTACTS)
            contacts.add(email)
        yield needed
