"""Search for sub-accounts with the name and address of a location to be ordered, so that it is not ordered twice."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import sqlalchemy as sa
from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.orders.orders import Location
from models.requests.requests import Request
from models.same_address import address_key
from models.spelling import spell
from models.states import ENDED, AccountState, Kind

SiteKey = tuple[str, str]
"""The name and the address of a location, normalised: equal for different spellings of the same location."""


def site_key(location: Location | Account) -> SiteKey:
    """Return the location's name and address in normalised form: 'Brückenstraße 5' and 'Brueckenstr. 5' are equal."""
    name = " ".join(spell(location.name).split())
    return name, address_key(location.street, location.postal_code, location.city)


def same_sites(session: Session, main: Account, postal_codes: Collection[str]) -> Mapping[SiteKey, Account]:
    """Return a dict of `SiteKey` to sub-account, for the sub-accounts of `main` with one of these postal codes.

    Sub-accounts on order are included, closed ones are not. If several have the same name and address, the dict has the
    one that was created first.
    """
    ordered = sa.select(Request.account_id).where(
        Request.main_id == main.id, Request.kind == Kind.ORDER, Request.status.not_in(ENDED)
    )
    # Both halves have an index; with OR the whole table would be read.
    theirs: sa.CompoundSelect[tuple[int | None]] = sa.union_all(
        sa.select(Account.id).where(Account.main_id == main.id), ordered
    )
    query = sa.select(Account).where(
        Account.id.in_(theirs), Account.postal_code.in_(postal_codes), Account.state != AccountState.CLOSED
    )
    return {site_key(found): found for found in session.scalars(query.order_by(Account.id.desc()))}


def same_site(session: Session, main: Account, location: Location) -> Account | None:
    """Return the sub-account of `main`, active or on order, that has this name and address; None if there is none."""
    return same_sites(session, main, [location.postal_code]).get(site_key(location))
