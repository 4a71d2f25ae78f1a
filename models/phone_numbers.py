"""Phone numbers as people type them, and in E.164. Pure Python."""

from __future__ import annotations

import phonenumbers
from phonenumbers import PhoneNumber


def parse_phone_number(typed: str) -> PhoneNumber | None:
    """Read a number in any usual spelling, as dialled in Germany; None if the text is no number.

    The number need not exist: whether it may be used is for the caller to decide.
    """
    try:
        return phonenumbers.parse(typed, "DE")
    except phonenumbers.NumberParseException:
        return None


def e164(number: PhoneNumber) -> str:
    """Write a number in E.164, with the plus sign."""
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def typed_phone_number(typed: str) -> str | None:
    """Return the typed number of a contact in E.164; None unless it has a length that numbers of its country have."""
    number = parse_phone_number(typed)
    return e164(number) if number is not None and phonenumbers.is_possible_number(number) else None
