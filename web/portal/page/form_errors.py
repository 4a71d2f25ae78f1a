"""Errors of form fields that only the view can detect."""

from __future__ import annotations

from wtforms import Field


def add_error(field: Field, what: str) -> None:
    """Add an error message to the field."""
    field.errors = [*field.errors, what]
