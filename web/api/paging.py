"""Cursors of the API's lists."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from models.db.paging import BadCursor
from models.errors import InvalidField


@contextmanager
def reject_bad_cursor() -> Iterator[None]:
    """Turn a `BadCursor` inside the block into an `InvalidField` for the query parameter `cursor` (422)."""
    try:
        yield
    except BadCursor as error:
        raise InvalidField("cursor", "cursor") from error
