"""Days that are typed into the forms of changes and cancellations."""

from __future__ import annotations

from datetime import date

from models.calendar_days import read_day
from models.errors import InvalidField


def typed_day(field: str, typed: str) -> date | None:
    """Return the day that was typed into `field`, None if nothing was. Raises `InvalidField` if it is no day."""
    if not typed:
        return None
    day = read_day(typed)
    if day is None:
        raise InvalidField(field, "malformed")
    return day
