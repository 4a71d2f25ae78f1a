"""Parsing of typed phone numbers and formatting in E.164. Needs no database."""

from __future__ import annotations

import re

import phonenumbers
from phonenumbers import PhoneNumber, PhoneNumberType

from models.invisible_characters import typed_text
from models.values import AREA_CODE

# In some countries, such as the United States, a number does not tell whether it is a mobile one.
_MOBILE = (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE)
_COSTLY = (PhoneNumberType.PREMIUM_RATE, PhoneNumberType.SHARED_COST, PhoneNumberType.PERSONAL_NUMBER)
_EMERGENCY = ("110", "112")
_GERMANY = 49
# Without a country code: 115, 116117, 118xx, call by call, 0137, 0138, 0180, 019x, 0700, 0900.
_GERMAN_SERVICE = re.compile(r"11[0-9]|10|13[78]|180|19|700|900")
_SERVICE_AFTER_AREA_CODE = re.compile(r"115|116[0-9]{3}|118[0-9]{2,3}")

_LABEL = re.compile(r"(?:telefon|tel|fon|phone|mobil|mobile|handy)[\s.:]*(?=[+(0-9])", re.IGNORECASE)
_LONGEST_TEXT = 100
_DIALLED = re.compile(r"[\d \t()\[\]（）.·/+＋\-‐‑‒–—−]*")
_SEPARATES_NUMBERS = re.compile(r"[^\W\d_]|[,;&|\n]")
_LONGEST_AREA_CODE = 5
# Numbers of German area codes in E.164, which are none of a service.
_PLAIN = re.compile(r"\+49(?!\d{2,5}(?:110|112|115|116\d{3}|118\d{2,3})$)(?:[2-6][0-9]|7[1-9]|8[1-9]|9[1-9])[0-9]{6,9}")


class BadPhoneNumber(ValueError):
    """Raised when a text is no phone number that can be used.

    `code` is `not_a_phone_number`; `not_as_dialled` if the text has more than one number, for example an extension in
    words ("App. 12"); or `service_number` if the number is that of an emergency or other service.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def parse_phone_number(typed: str) -> PhoneNumber:
    """Parse a phone number in any usual spelling; a number without country code is read as dialled in Germany.

    Letters are never read as digits. Not checked: whether the number exists, and what it may be used for. Raises
    `BadPhoneNumber` if the text is no number or has more than one.
    """
    if len(typed) > _LONGEST_TEXT:
        raise BadPhoneNumber("not_a_phone_number")
    text = _LABEL.sub("", typed_text(typed).strip(), count=1)
    if not _DIALLED.fullmatch(text):
        has_number = _SEPARATES_NUMBERS.search(text) and any(map(str.isdecimal, text))
        raise BadPhoneNumber("not_as_dialled" if has_number else "not_a_phone_number")
    area, *others = text.split("/")
    if len(others) > 1 or (others and not _can_be_area_code(area)):
        raise BadPhoneNumber("not_as_dialled")
    try:
        number = phonenumbers.parse(text, "DE")
    except phonenumbers.NumberParseException as error:
        raise BadPhoneNumber("not_a_phone_number") from error
    if number.country_code == _GERMANY and phonenumbers.national_significant_number(number).startswith("0"):
        raise BadPhoneNumber("not_a_phone_number")
    return number


def is_emergency_number(number: PhoneNumber) -> bool:
    """Return whether the number is for emergency calls in its country; in Germany also when it follows an area code."""
    national = phonenumbers.national_significant_number(number)
    if number.country_code == _GERMANY:
        return national in _EMERGENCY or _after_area_code(number) in _EMERGENCY
    region = phonenumbers.region_code_for_country_code(number.country_code or 0)
    return phonenumbers.is_emergency_number(national, region)


def is_service_number(number: PhoneNumber) -> bool:
    """Return whether the number belongs to a service: premium rate, shared cost, personal, directory enquiries.

    In Germany these are also short numbers such as 115, and 0137, 0180, 0700 and 0900. Freephone numbers, such as 0800,
    do not count.
    """
    if phonenumbers.number_type(number) in _COSTLY:
        return True
    return number.country_code == _GERMANY and bool(
        _GERMAN_SERVICE.match(phonenumbers.national_significant_number(number))
        or _SERVICE_AFTER_AREA_CODE.fullmatch(_after_area_code(number))
    )


def e164(number: PhoneNumber) -> str:
    """Format a phone number in E.164, with the plus sign."""
    return f"+{number.country_code}{phonenumbers.national_significant_number(number)}"


def typed_phone_number(typed: str) -> str:
    """Return a typed phone number in E.164.

    Raises `BadPhoneNumber` if it is no number or its length is impossible in its country.
    """
    number = parse_phone_number(typed)
    if not phonenumbers.is_possible_number(number):
        raise BadPhoneNumber("not_a_phone_number")
    return e164(number)


def typed_contact_number(typed: str) -> str:
    """Return the typed phone number of a contact person in E.164.

    Raises `BadPhoneNumber` if the text is no number or its length is impossible in its country, and, with the code
    `service_number`, if it is the number of an emergency or other service: nobody can be reached there in person.
    """
    # Files have hundreds of thousands, almost all of them plain.
    if _PLAIN.fullmatch(typed):
        return typed
    number = parse_phone_number(typed)
    found = e164(number)
    if _PLAIN.fullmatch(found):
        return found
    if is_emergency_number(number) or is_service_number(number):
        raise BadPhoneNumber("service_number")
    if not phonenumbers.is_possible_number(number):
        raise BadPhoneNumber("not_a_phone_number")
    return found


def typed_mobile_number(typed: str) -> str:
    """Return a typed mobile number, German or foreign, in E.164.

    Raises `BadPhoneNumber` if it is no valid number of a mobile network.
    """
    number = parse_phone_number(typed)
    if not phonenumbers.is_valid_number(number) or phonenumbers.number_type(number) not in _MOBILE:
        raise BadPhoneNumber("not_a_phone_number")
    return e164(number)


def typed_area_code(typed: str) -> str:
    """Return a typed German area code as it is dialled: '+49 351', '0049 351' and '(0351)' become '0351'.

    Any text that is no area code is returned unchanged.
    """
    digits = re.sub(r"[\s()/.-]", "", typed)
    code = re.sub(r"^(?:\+|00)490?", "0", digits)
    return code if AREA_CODE.fullmatch(code) else typed


def _can_be_area_code(text: str) -> bool:
    """Return whether `text`, the part of a typed number before a slash, can be an area code.

    It may be typed with or without the country code.
    """
    digits = re.sub(r"\D", "", text)
    is_international = text.strip(" (").startswith("+") or digits.startswith("00")
    digits = digits.removeprefix("00")
    if is_international and not digits.startswith(str(_GERMANY)):
        return len(digits) <= _LONGEST_AREA_CODE + 1
    if is_international:
        digits = digits.removeprefix(str(_GERMANY))
    return 1 < len(digits.removeprefix("0")) <= _LONGEST_AREA_CODE


def _after_area_code(number: PhoneNumber) -> str:
    """Return the digits that are dialled within the Ortsnetz (local exchange area), that is, without the area code.

    For a number without an area code, such as a mobile number, these are all digits after the country code.
    """
    national = phonenumbers.national_significant_number(number)
    return national[phonenumbers.length_of_geographical_area_code(number) :]
