"""Error texts at form fields: those that only a view can detect, and those for empty fields."""

from __future__ import annotations

from flask_babel import lazy_gettext
from wtforms import Field

from tasks.wording.fields import MISSING


def add_error(field: Field, what: str) -> None:
    """Add the error message `what` to the field, after its other errors."""
    field.errors = [*field.errors, what]


def missing(field: str) -> object:
    """Return the error text for an empty field, translated when a page shows it.

    `field` is the path of the field in the API's body, such as `location.city`.
    """
    return lazy_gettext(MISSING[field])
