"""Cursor pagination: one page of a list, and the cursor at which the next page begins."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

Listed = TypeVar("Listed")
Place = str | int | datetime | UUID
"""The type of a sort key: the value of a column by which a list is sorted."""


class BadCursor(ValueError):
    """Raised when a text is no valid cursor (an encoded position in a list) for the list that it is used with."""


@dataclass(frozen=True, slots=True)
class Page(Generic[Listed]):
    """One page of a list. `after` is the cursor at which the next page begins; None on the last page."""

    items: Sequence[Listed]
    after: str | None


def write_cursor(*places: Place) -> str:
    """Encode the sort keys of a page's last row as a cursor, a text that is safe in a URL."""
    values = [place if isinstance(place, (str, int)) else _text(place) for place in places]
    return urlsafe_b64encode(json.dumps(values, ensure_ascii=False).encode()).decode().rstrip("=")


def read_cursor(cursor: str, *kinds: type[Any]) -> tuple[Any, ...]:
    """Decode a cursor into the sort keys from which `write_cursor` made it; `kinds` are the keys' types in order.

    The cursor may come from a user. Raises `BadCursor` if the text is no cursor with keys of these types; the returned
    values are valid SQL parameters.
    """
    try:
        values = json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if not isinstance(values, list) or len(values) != len(kinds):
            raise BadCursor(cursor)
        return tuple(_place(value, kind) for value, kind in zip(values, kinds, strict=True))
    except (ValueError, TypeError, RecursionError) as error:
        raise BadCursor(cursor) from error


def _text(place: datetime | UUID) -> str:
    return place.isoformat() if isinstance(place, datetime) else str(place)


def _place(value: object, kind: type[Any]) -> Place:
    if kind is int:
        if type(value) is int and 0 <= value < 2**63:
            return value
        raise ValueError
    # PostgreSQL rejects NUL characters and text that UTF-8 cannot encode.
    if not isinstance(value, str) or "\0" in value:
        raise ValueError
    value.encode()
    if kind is datetime:
        at = datetime.fromisoformat(value)
        if at.tzinfo is None:
            raise ValueError
        return at
    return UUID(value) if kind is UUID else value
