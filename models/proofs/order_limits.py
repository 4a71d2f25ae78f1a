"""The limits of a company, applied to its orders and to the letters and mails that it asks for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.accounts.limits import (
    Limit,
    Limits,
    add_uses,
    limits_of,
    lock_limits,
    next_day,
    used_today,
)
from models.contracts.catalogue import PriceLine
from models.errors import Forbidden, LimitReached
from models.orders.orders import LIST_PRICES, OrderDraft, submit_order
from models.people.rights import Action, Principal, may
from models.people.users import User
from models.proofs.proofs import AddressProof, EmailProof
from models.requests.requests import Request
from models.states import ENDED, Kind
from models.values import address_key


def place_order(
    session: Session,
    principal: Principal,
    main: Account,
    draft: OrderDraft,
    now: datetime,
    usual: Limits,
    agreed: Mapping[str, PriceLine] = LIST_PRICES,
) -> Request:
    """Place an order as `submit_order` does, if the limits of the company allow one more, and count it.

    `usual` are the limits of companies that have none of their own. Raises what `submit_order` raises, and
    `LimitReached` if a limit does not allow the order.
    """
    if not may(principal, Action.ORDER, main):
        raise Forbidden
    _, reached = take_for_orders(session, principal, main, [draft], now, usual)
    if reached is not None:
        raise reached
    return submit_order(session, principal, main, draft, now, agreed)


def take_for_orders(
    session: Session,
    principal: Principal,
    main: Account,
    drafts: Sequence[OrderDraft],
    now: datetime,
    usual: Limits,
) -> tuple[int, LimitReached | None]:
    """Count as many of the orders, from the first on, as the limits of their company allow.

    The caller places these in the same transaction. Returns their number, and the limit that forbids the next one; None
    if all are allowed. Other transactions that count for this company wait until this transaction ends.
    """
    lock_limits(session, main.id)
    count, uses, reached = _fitting(session, principal, main, drafts, now, usual)
    add_uses(session, main.id, {what: times for what, times in uses.items() if what is not Limit.OPEN_ORDERS}, now)
    return count, reached


def orders_that_fit(
    session: Session,
    principal: Principal,
    main: Account,
    drafts: Sequence[OrderDraft],
    now: datetime,
    usual: Limits,
) -> tuple[int, LimitReached | None]:
    """Return the same as `take_for_orders`, and count nothing: it is only a look, with no guarantee for later."""
    count, _, reached = _fitting(session, principal, main, drafts, now, usual)
    return count, reached


def _fitting(
    session: Session, principal: Principal, main: Account, drafts: Sequence[OrderDraft], now: datetime, usual: Limits
) -> tuple[int, Counter[Limit], LimitReached | None]:
    limits = limits_of(session, main.id, usual)
    used = Counter(used_today(session, main.id, now))
    used[Limit.OPEN_ORDERS] = _open_orders(session, main)
    # No more can fit: what comes after them need not be looked at.
    room = max(0, min(limits.of(limit) - used[limit] for limit in (Limit.OPEN_ORDERS, Limit.BLOCKS))) + 1
    fresh: Counter[Limit] = Counter()
    count = 0
    for needed in _needs(session, principal, main, drafts[:room], now):
        for limit in needed:
            if used[limit] + fresh[limit] + 1 > limits.of(limit):
                free_at = None if limit is Limit.OPEN_ORDERS else next_day(now)
                return count, fresh, LimitReached(limit, limits.of(limit), free_at)
        fresh.update(needed)
        count += 1
    return count, fresh, None


def _open_orders(session: Session, main: Account) -> int:
    running = sa.select(sa.func.count()).where(
        Request.main_id == main.id, Request.kind == Kind.ORDER, Request.status.not_in(ENDED)
    )
    return session.scalar(running) or 0


def _needs(
    session: Session, principal: Principal, main: Account, drafts: Sequence[OrderDraft], now: datetime
) -> Iterator[list[Limit]]:
    """Yield for each order which limits it counts against, each of them once.

    A contact or address that two of the orders have in common counts with the first. An address whose letter is so old
    that a new order may ask for another one counts like a new one.
    """
    person = session.get_one(User, principal.user_id)
    places = [draft.location for draft in drafts]
    keys = [address_key(place.street, place.postal_code, place.city) for place in places]
    emails = [draft.contact.email.lower() for draft in drafts]
    of_email = sa.select(EmailProof.address).where(EmailProof.main_id == main.id, EmailProof.address.in_(emails))
    of_address = sa.select(AddressProof.address_key).where(
        AddressProof.main_id == main.id,
        AddressProof.address_key.in_(keys),
        AddressProof.proved_at.is_not(None) | (AddressProof.asked_at > now - AddressProof.new_after),
    )
    contacts, addresses = set(session.scalars(of_email)), set(session.scalars(of_address))
    if person.email_confirmed_at is not None:
        contacts.add(person.email)
    for email, key in zip(emails, keys, strict=True):
        needed = [Limit.OPEN_ORDERS, Limit.BLOCKS]
        if key not in addresses:
            needed.append(Limit.LETTERS)
        if email not in contacts:
            needed.append(Limit.CONTACTS)
        yield needed
        addresses.add(key)
        contacts.add(email)
