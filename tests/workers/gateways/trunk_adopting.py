"""Functions that adopt imported trunks and look at them on both sides, for the tests of importing and adopting."""

from __future__ import annotations

import hashlib

import sqlalchemy as sa

from models.telephony.numbers import NumberBlock
from models.telephony.trunks import SipTrunk
from tests.workers.gateways.kamailio_tables import VAULT, Network
from workers.accounts.trunk_adoption import adopt_unchanged
from workers.gateways.subscribers import KamailioSubscribers

OTHER_PASSWORD = "UPDATE subscriber SET password = 'changed-there' WHERE username = 'old1'"


def adopt(network: Network, sip_user: str | None = None) -> tuple[int, dict[str, list[str]]]:
    """Adopt the imported trunks, or only that of `sip_user`: from then on the portal writes their rows at Kamailio.

    A trunk whose login or numbers have changed at Kamailio since the import is not adopted. Return how many trunks were
    adopted, and what differs at each of the others ("secret", "numbers"), by SIP user.
    """
    refused: dict[str, list[str]] = {}
    there = network.runtime.ports.subscribers
    assert isinstance(there, KamailioSubscribers)
    return adopt_unchanged(
        network.runtime.database, there, VAULT, network.clock, refused.__setitem__, sip_user
    ), refused


def ha1_there(network: Network) -> str:
    """Return the password digest (HA1) of the SIP user old1 in Kamailio's database."""
    [[ha1]] = network.by_hand("SELECT ha1 FROM subscriber WHERE username = 'old1'")
    return str(ha1)


def md5(text: str) -> str:
    """Return the MD5 digest of a text in hexadecimal digits."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def trunk_of(network: Network, sip_user: str) -> tuple[SipTrunk, list[NumberBlock]]:
    """Return the portal's trunk with this SIP user, and its number blocks."""
    with network.runtime.database.transaction() as session:
        trunk = session.scalars(sa.select(SipTrunk).where(SipTrunk.sip_user == sip_user)).one()
        blocks = sa.select(NumberBlock).where(NumberBlock.trunk_id == trunk.id).order_by(NumberBlock.first_number)
        return trunk, list(session.scalars(blocks))
