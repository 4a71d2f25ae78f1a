"""Errors of form fields that only the view can detect."""

from __future__ import annotations

from flask_babel import lazy_gettext
from wtforms import Field

from tasks.wording.fields import MISSING


def add_error(field: Field, what: str) -> None:
    """Add an error message to the field."""
    field.errors = [*field.errors, what]


def missing(field: str) -> object:
    """Return the sentence for an empty field, in the language of the page that shows it."""
    return lazy_gettext(MISSING[field])
