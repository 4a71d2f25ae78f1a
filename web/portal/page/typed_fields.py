"""Validators of form fields for names and e-mail addresses."""

from __future__ import annotations

from wtforms import Field, Form
from wtforms.validators import StopValidation

from models.emails import BadEmail, typed_email
from models.name_rules import name_fault
from tasks.wording.fields import field_error
from web.portal.page.locale import locale


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
