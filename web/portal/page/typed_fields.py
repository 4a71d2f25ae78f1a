"""Filters and validators for typed form fields: names, e-mail addresses and days."""

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
    """Return the typed text without white space at its ends, None for None. To be used as a filter of form fields."""
    return value.strip() if value is not None else None


def typed_day(field: str, typed: str | None) -> date | None:
    """Return the day typed into the form field `field`; None if nothing was typed.

    Reads the form that browsers send (2026-03-16) and the German one (16.3.2026). Raises `InvalidField` for `field` if
    the text is no day.
    """
    if not typed:
        return None
    day = read_day(typed)
    if day is None:
        raise InvalidField(field, "malformed")
    return day


def refuse_unsuitable_name(_form: Form, field: Field) -> None:
    """Raise `StopValidation` with an error text if the field's text cannot be a name. A validator for form fields.

    A name must be printable, no error value of a spreadsheet such as #REF!, and contain no web or e-mail address, which
    would become a link in mails to others.
    """
    fault = name_fault(field.data or "")
    if fault is not None:
        raise StopValidation(field_error(locale(), "name", fault.code, fault.character))


def normalize_email(_form: Form, field: Field) -> None:
    """Replace the typed e-mail address by the spelling in which addresses are stored. A validator for form fields.

    That is the bare address, without a display name, with the domain in lower case. Raises `StopValidation` with an
    error text if the portal can send no mail to the address.
    """
    try:
        field.data = typed_email(field.data)
    except BadEmail as error:
        raise StopValidation(field_error(locale(), "email", error.code)) from error
