"""Turns an invalid cursor (position in a list) in a call into an error response."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from models.db.paging import BadCursor
from models.errors import InvalidField


@contextmanager
def known_cursor() -> Iterator[None]:
    """Turn a `BadCursor` raised within the block into `InvalidField` (422) for the query parameter `cursor`."""
    try:
        yield
    except BadCursor as error:
        raise InvalidField("cursor", "cursor") from error
