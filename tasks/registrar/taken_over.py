"""Trunks that were taken over (imported) from a running Kamailio: find out whether they have changed there since.

Such a trunk is adopted later: from then on the portal writes it to Kamailio. Until then, an older provisioning system
may still change it there, and such a change must not be overwritten.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from models.phone_numbers import BadPhoneNumber, typed_phone_number
from models.telephony.login_digests import digests_as_secret, ha1_of
from models.telephony.trunk_takeover import same_login, same_numbers
from models.vault import Vault
from tasks.ports import SipAddress, Subscriber

SIP_SECRET = re.compile(r"[!-z|~]{4,64}")
_PLAIN_ALIAS = re.compile(r"\+49[1-9][0-9]{5,10}")


@dataclass(frozen=True, slots=True)
class TakenOver:
    """A trunk that was imported from a running Kamailio and that the portal does not write there yet (not adopted).

    `address` is its SIP user and domain. `key` is the idempotency key under which the portal will write it. `state`
    (the column `SipTrunk.taken_over_as`) has fingerprints (keyed hashes) of the login and of the numbers that the
    registrar had at the time of the import.
    """

    address: SipAddress
    key: str
    state: bytes

    def differing(self, vault: Vault, found: Subscriber | None) -> Iterator[str]:
        """Yield what has changed at the registrar since the trunk was imported from it: "secret", "numbers", or both.

        `found` is the registrar's subscriber, None if it has none: then nothing differs, because nothing would be
        overwritten. Nothing differs either if the portal has written the subscriber.
        """
        if found is None or ("provision_key", self.key) in found.preferences:
            return
        if found.login is None and not found.aliases:
            return
        secret = secret_of(found)
        if secret is None or not same_login(vault, self.state, ha1_of(secret, *self.address)):
            yield "secret"
        numbers = numbers_of_aliases(found.aliases)
        if numbers is None or not same_numbers(vault, self.state, numbers):
            yield "numbers"


def secret_of(found: Subscriber) -> str | None:
    """Return a subscriber's SIP password, or its digests as a text if it has no usable password; None without either.

    The text is `{HA1}` followed by both digests. The portal stores it in place of a password.
    """
    if found.login is None:
        return None
    ha1, ha1b, clear = found.login
    if SIP_SECRET.fullmatch(clear):
        return clear
    try:
        return digests_as_secret(ha1, ha1b)
    except ValueError:
        return None


def numbers_of_aliases(aliases: Collection[tuple[str, str]]) -> frozenset[int] | None:
    """Return the phone numbers of a subscriber's aliases as integers in E.164; None if any alias is no phone number.

    `aliases` are pairs of number and domain.
    """
    try:
        # Parsing takes long for a million of them.
        return frozenset(
            int(alias if _PLAIN_ALIAS.fullmatch(alias) else typed_phone_number(alias)) for alias, _ in aliases
        )
    except BadPhoneNumber:
        return None
