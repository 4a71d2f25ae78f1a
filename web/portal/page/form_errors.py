"""Functions that add error messages to form fields, and return error texts that several forms use."""

from __future__ import annotations

from flask_babel import gettext, lazy_gettext
from wtforms import Field

from models.errors import TooEarly
from tasks.wording.fields import MISSING
from web.portal.page.locale import moment


def add_error(field: Field, what: str) -> None:
    """Add the error message `what` to the field, after its other errors."""
    field.errors = [*field.errors, what]


def missing(field: str) -> object:
    """Return the error text for an empty field, as a lazy string that is translated when a page shows it.

    `field` is the path of the field in the API's request body, such as `location.city`.
    """
    return lazy_gettext(MISSING[field])


def too_often_text(error: TooEarly) -> str:
    """Return the sentence that the person has done something too often within a day, and when it is possible again."""
    at = moment(error.again_at)
    return str(
        gettext("You have done that often enough within a day. It is possible again from %(moment)s.", moment=at)
    )
