"""Where emergency calls of an account go: to the emergency services of its connection address."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EmergencyLocation:
    """The place that a call to 110 or 112 comes from. Its `postal_code` decides which emergency services answer."""

    street: str
    postal_code: str
    city: str


def emergency_location(street: str, postal_code: str, city: str) -> EmergencyLocation:
    """Return the place that emergency calls from a connection address come from: wherever the phones are registered.

    Kamailio sends the call with the postal code behind the number, as `110-10179`. Only an address whose postal code is
    its town's gets so far (`models.orders.addresses`).
    """
    return EmergencyLocation(street, postal_code, city)
