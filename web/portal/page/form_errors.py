"""Helpers for error texts at form fields."""

from __future__ import annotations

from flask_babel import lazy_gettext
from wtforms import Field

from tasks.wording.fields import MISSING


def add_error(field: Field, what: str) -> None:
    """Add the error message `what` to the field, after its other errors."""
    field.errors = [*field.errors, what]


def missing(field: str) -> object:
    """Return the error text for an empty field, as a lazy string that is translated when a page shows it.

    `field` is the path of the field in the API's request body, such as `location.city`.
    """
    return lazy_gettext(MISSING[field])
