"""Types of text fields that the API's schemas and the portal's forms share."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, StringConstraints
from pydantic_core import PydanticCustomError

from models.emails import LONGEST_EMAIL, BadEmail, typed_email
from models.name_rules import name_fault
from models.phone_numbers import BadPhoneNumber, typed_area_code, typed_contact_number, typed_mobile_number
from models.telephony.country_prefixes import PREFIXES
from models.values import AREA_CODE, CUSTOMER_NUMBER, POSTAL_CODE
from tasks.wording.fields import RULES


def as_e164(value: str) -> str:
    """Convert the phone number of a person, such as a contact, to E.164, reading national numbers as German.

    Raises `PydanticCustomError` or `ValueError` for a text that is no phone number, and for numbers of emergency and
    other services.
    """
    try:
        return typed_contact_number(value)
    except BadPhoneNumber as error:
        raise _said(error, error.code) from error


def as_mobile(value: str) -> str:
    """Convert a mobile number to E.164, reading national numbers as German.

    Raises `PydanticCustomError` or `ValueError` for a text that is no number of a mobile network.
    """
    try:
        return typed_mobile_number(value)
    except BadPhoneNumber as error:
        raise _said(error, error.code) from error


def as_email(value: str) -> str:
    """Return the e-mail address as it is stored: without a display name, the domain in lower case.

    Raises `PydanticCustomError` or `ValueError` for a text that is no e-mail address to which mails can be sent.
    """
    try:
        return typed_email(value)
    except BadEmail as error:
        raise _said(error, error.code) from error


def _said(error: ValueError, code: str) -> ValueError:
    """Return a `PydanticCustomError` of the type `code` if there is a text for this code in `RULES`, else `error`.

    `RULES` has the texts that are shown to users about broken rules. Without a text for the code, the API and the
    portal show the general error text of the field.
    """
    return PydanticCustomError(code, code) if code in RULES else error


def one_line(most: int) -> StringConstraints:
    """Return pydantic constraints for a one-line text: stripped, 1 to `most` characters, no control characters."""
    return StringConstraints(strip_whitespace=True, min_length=1, max_length=most, pattern=r"^[^\x00-\x1f\x7f]*$")


def nameable(value: str) -> str:
    """Return the value unchanged if it can be a name or a part of a postal address, for use as a pydantic validator.

    Raises `PydanticCustomError` if it cannot. The error's code says why: `unprintable` (a character cannot be printed
    on letters), `error_value` (an error value of a spreadsheet, such as #REF!), or `web_address` (it contains a web or
    e-mail address).
    """
    fault = name_fault(value)
    if fault is not None:
        raise PydanticCustomError(fault.code, fault.code, {"allowed": fault.character})
    return value


def as_area_code(value: object) -> object:
    """Convert a German area code, such as +49 351, to the notation 0351; return any other value unchanged."""
    return typed_area_code(value) if isinstance(value, str) else value


def _destination(value: str) -> str:
    """Return the value unchanged if it is the key of a destination of calls: an ISO code such as CH, or a calling code.

    Raises `PydanticCustomError` if it is not a key of `PREFIXES`.
    """
    if value not in PREFIXES:
        raise PydanticCustomError("unknown_destination", "unknown_destination")
    return value


Destination = Annotated[str, StringConstraints(pattern="^([A-Z]{2}|[0-9]{2,4})$"), AfterValidator(_destination)]
"""The key of a destination of calls: a country's ISO 3166 code, or the calling code of an international network."""

Line = Annotated[str, one_line(120), AfterValidator(nameable)]
"""A name or a part of an address, which is also printed on letters and offers and written in mails to others."""


EmailAddress = Annotated[
    str,
    StringConstraints(max_length=LONGEST_EMAIL),
    AfterValidator(as_email),
    Field(json_schema_extra={"format": "email"}),
]
"""An e-mail address to which mails can be sent, in the form in which it is stored."""


Phone = Annotated[str, AfterValidator(as_e164), Field(examples=["+4930901820"])]


Mobile = Annotated[str, AfterValidator(as_mobile), Field(examples=["+4915123456789"])]


PostalCode = Annotated[str, StringConstraints(pattern=f"^{POSTAL_CODE.pattern}$"), Field(examples=["10179"])]


AreaCodeText = Annotated[
    str, BeforeValidator(as_area_code), StringConstraints(pattern=f"^{AREA_CODE.pattern}$"), Field(examples=["030"])
]


def whole_number(value: object) -> object:
    # `Literal` alone would accept 10.0 as 10.
    """Return the value if it is an int. Raises `PydanticCustomError` for any other type, such as 10.0, "10" or true."""
    if type(value) is not int:
        raise PydanticCustomError("int_type", "not_a_whole_number")
    return value


CustomerNumber = Annotated[str, StringConstraints(pattern=f"^{CUSTOMER_NUMBER.pattern}$"), Field(examples=["1234567"])]


def _calendar_day(value: object) -> object:
    """Return the day that an ISO text such as "2026-11-30" names. Raises `ValueError` for any other value."""
    if not (isinstance(value, str) and re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", value)):
        raise ValueError("no day")
    return date.fromisoformat(value)


CalendarDay = Annotated[date, BeforeValidator(_calendar_day), Field(examples=["2027-01-31"])]
"""A day, as YYYY-MM-DD."""


Language = Literal["de", "en"]


Code = Annotated[str, StringConstraints(min_length=1, max_length=40), Field(examples=["ABCDE FGHJK"])]


Email = Annotated[str, StringConstraints(max_length=254, pattern=r"^[^\x00-\x1f\x7f]*$")]


Password = Annotated[SecretStr, Field(max_length=1024)]


class Body(BaseModel):
    # Validation errors never repeat the input, which may be a password.
    """Base of the bodies of orders, link requests and other API calls. Unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)
