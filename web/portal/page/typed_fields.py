"""Form fields as they are typed: names and e-mail addresses are checked, days are read."""

from __future__ import annotations

from datetime import date

from wtforms import Field, Form
from wtforms.validators import StopValidation

from models.calendar_days import read_day
from models.emails import BadEmail, typed_email
from models.errors import InvalidField
from models.name_rules import name_fault
from tasks.wording.fields import field_error
from web.portal.page.locale import locale


def strip(value: str | None) -> str | None:
    """Return the typed text without blanks at its ends; a filter for fields."""
    return value.strip() if value is not None else None


def typed_day(field: str, typed: str | None) -> date | None:
    """Return the day that was typed into `field`, as browsers send it or as Germans write it; None if nothing was.

    Raises `InvalidField` for the field if this is no day.
    """
    if not typed:
        return None
    day = read_day(typed)
    if day is None:
        raise InvalidField(field, "malformed")
    return day


def refuse_unsuitable_name(_form: Form, field: Field) -> None:
    """Raise `StopValidation` if the text cannot be a name: unprintable, a spreadsheet's error, or an address.

    An address is a web or e-mail address, which would be a link in mails to others.
    """
    fault = name_fault(field.data or "")
    if fault is not None:
        raise StopValidation(field_error(locale(), "name", fault.code, fault.character))


def normalize_email(_form: Form, field: Field) -> None:
    """Replace the typed e-mail address by the spelling in which it is stored: without a name, the domain in lower case.

    Raises `StopValidation`, with the text of the error, if the portal can send no mail to the address.
    """
    try:
        field.data = typed_email(field.data)
    except BadEmail as error:
        raise StopValidation(field_error(locale(), "email", error.code)) from error
