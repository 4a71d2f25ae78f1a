"""Parsing of typed phone numbers and formatting in E.164. Pure Python."""

from __future__ import annotations

import phonenumbers
from phonenumbers import PhoneNumber, PhoneNumberType

# In some countries, such as the United States, a number does not tell whether it is a mobile one.
_MOBILE = (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE)


def parse_phone_number(typed: str) -> PhoneNumber | None:
    """Parse a phone number in any usual spelling, as dialled in Germany; return None if the text is no phone number.

    Does not check that the phone number exists; the caller decides whether the number may be used.
    """
    try:
        return phonenumbers.parse(typed, "DE")
    except phonenumbers.NumberParseException:
        return None


def e164(number: PhoneNumber) -> str:
    """Format a phone number in E.164, with the plus sign."""
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def display_phone_number(e164: str) -> str:
    """Format an E.164 number with spaces and country code, for example +49 30 23125901."""
    return phonenumbers.format_number(phonenumbers.parse(e164), phonenumbers.PhoneNumberFormat.INTERNATIONAL)


def typed_phone_number(typed: str) -> str | None:
    """Return a typed phone number in E.164; None if it is no number or its length is impossible in its country."""
    number = parse_phone_number(typed)
    return e164(number) if number is not None and phonenumbers.is_possible_number(number) else None


def typed_mobile_number(typed: str) -> str | None:
    """Return a typed mobile number, German or foreign, in E.164; None if it is no valid number of a mobile network."""
    number = parse_phone_number(typed)
    if number is None or not phonenumbers.is_valid_number(number) or phonenumbers.number_type(number) not in _MOBILE:
        return None
    return e164(number)
