"""Asks the telephone network at which SIP trunks of a company a phone system is registered, for the overview's pages.

The trunks are the active ones of a main account and its sub-accounts. The result has only their counts, and the
accounts with a trunk without a registration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from models.accounts.accounts import Account
from models.people.rights import Action, may
from models.views.location_counts import TrunkAddress, trunk_addresses
from web.portal.page.login_session import principal
from web.resources import resources
from web.telephone_network import NetworkAway

MOST_TRUNKS = 2000
"""The most trunks about which each page of the overview asks the telephone network, unless a filter needs all."""


@dataclass(frozen=True, slots=True)
class Registrations:
    """The counts of the active trunks of a main account and its sub-accounts, with and without a registration.

    `trunks` is the number of these trunks, `registered` the number of those at which a phone system is registered.
    `offline` has the ids of the accounts that have a trunk without a registration.
    """

    trunks: int
    registered: int
    offline: Sequence[int]


def addresses_to_ask(database: Session, account: Account, *, all_of_them: bool) -> list[TrunkAddress] | None:
    """Return the SIP addresses of the active trunks of a main account and its sub-accounts, for `ask_network`.

    None if the telephone network is not to be asked: because none is configured, because the user may not see calls, or
    because there are more than `MOST_TRUNKS` (2,000) trunks and `all_of_them` is False.
    """
    if resources().network is None or not may(principal(), Action.SEE_CALLS, account):
        return None
    return trunk_addresses(database, account, None if all_of_them else MOST_TRUNKS)


def ask_network(trunks: Sequence[TrunkAddress] | None) -> Registrations | None:
    """Ask the telephone network at which of the trunks a phone system is registered, and return the result.

    Return None if the network does not answer, if none is configured, or if `trunks` is None. Call it with no
    transaction open, because it waits for another system.
    """
    network = resources().network
    if trunks is None or network is None:
        return None
    try:
        known = network.registered([(trunk.sip_user, trunk.domain) for trunk in trunks]) if trunks else set()
    except NetworkAway:
        return None
    missing = [trunk for trunk in trunks if (trunk.sip_user, trunk.domain) not in known]
    return Registrations(len(trunks), len(trunks) - len(missing), sorted({trunk.account_id for trunk in missing}))


def offline_accounts(known: Registrations | None) -> Sequence[int]:
    """Return the ids of the accounts with a trunk at which no phone system is registered; empty if `known` is None."""
    return known.offline if known is not None else ()
