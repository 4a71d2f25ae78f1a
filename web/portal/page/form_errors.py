"""Errors on form fields that only the view can find."""

from __future__ import annotations

from wtforms import Field


def add_error(field: Field, what: str) -> None:
    """Say that a field is wrong, beside what the form itself has found."""
    field.errors = [*field.errors, what]
